//! Consecutive elements of one parameter, as the CPU hands them to a rule.

/// Elements to update: the states in use, in the rule's order.
#[derive(Debug)]
pub struct Run<'a, T> {
    /// The parameter's elements.
    pub params: &'a mut [T],
    /// The gradient's.
    pub grads: &'a [T],
    /// Each state's.
    pub states: &'a mut [&'a mut [T]],
}

/// Elements to sum over.
#[derive(Debug)]
pub struct View<'a, T> {
    /// The parameter's elements.
    pub params: &'a [T],
    /// The gradient's.
    pub grads: &'a [T],
    /// Each state's.
    pub states: &'a [&'a [T]],
}

/// A run of either type of number, for rules whose type was erased.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types' names say it")]
pub enum AnyRun<'a> {
    F32(Run<'a, f32>),
    F64(Run<'a, f64>),
}

/// The same for a view.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types' names say it")]
pub enum AnyView<'a> {
    F32(View<'a, f32>),
    F64(View<'a, f64>),
}
