// What a tree adds up: norms.
alias Summand = Norms;

fn plus(a: Norms, b: Norms) -> Norms {
    return Norms(a.param + b.param, a.direction + b.direction);
}

