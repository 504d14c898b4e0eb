//! Modifiers of any rule: masks, kinds of decay, clipping by tensor, bounds, averages.

mod composition;
mod golden;
mod steps;
mod swap;
mod text;
