// A step that also sums up the squares of the parameters and of what it changed them by.
fn thread_sum(block: u32, thread: u32) -> Norms {
    let updated = step_thread(block, thread);
    return Norms(squares(updated.after), squares(updated.after - updated.before));
}

