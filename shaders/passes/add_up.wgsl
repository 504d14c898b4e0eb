// Adds up partial sums, in a fixed order and without atomics. `rows` has the first of each row's
// parts, and how many there are: at most SUM_LENGTH. `runs` has each workgroup's first row, and how
// many rows it takes: one together, or several, each thread one, of at most SHORT_SUM parts.
// #import tree

fn part(row: vec2<u32>, index: u32) -> Summand {
    if index < row.y {
        return parts[row.x + index];
    }
    return Summand();
}

// A short row's sum, as the workgroup together would add it up, to the same bits: each part meets
// zeros first, by which -0 becomes 0.
fn short_sum(row: vec2<u32>) -> Summand {
    let zero = Summand();
    let low = plus(
        plus(plus(part(row, 0u), zero), plus(part(row, 1u), zero)),
        plus(plus(part(row, 2u), zero), plus(part(row, 3u), zero)),
    );
    let high = plus(
        plus(plus(part(row, 4u), zero), plus(part(row, 5u), zero)),
        plus(plus(part(row, 6u), zero), plus(part(row, 7u), zero)),
    );
    return plus(low, high);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    // Past the last run there are no rows.
    var run = vec2<u32>();
    if index < arrayLength(&runs) {
        run = runs[index];
    }
    if run.y > 1u {
        if invocation < run.y {
            totals[run.x + invocation] = short_sum(rows[run.x + invocation]);
        }
        return;
    }
    var row = vec2<u32>();
    if run.y == 1u {
        row = rows[run.x];
    }
    let low = plus(part(row, invocation), part(row, invocation + WORKGROUP_SIZE));
    let high = plus(
        part(row, invocation + 2u * WORKGROUP_SIZE),
        part(row, invocation + 3u * WORKGROUP_SIZE),
    );
    sums[invocation] = plus(low, high);
    sum_256(invocation);
    if invocation == 0u && run.y == 1u {
        totals[run.x] = sums[0];
    }
}
