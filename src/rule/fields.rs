//! Structs whose fields are all of one type, declared once for every type.

/// A struct whose fields are all of one type: a rule's coefficients, states or sums. Made by
/// [`fields!`].
///
/// The names and their order must be those of the WGSL struct; building an optimizer checks it.
///
/// [`fields!`]: crate::fields!
pub trait Fields<T> {
    /// The fields' names, in order.
    const NAMES: &'static [&'static str];
    /// Builds the struct from its fields' values by position.
    fn from_fn(value: impl FnMut(usize) -> T) -> Self;
    /// Visits every field by position.
    fn each(&self, visit: impl FnMut(usize, T));
}

/// Declares a struct of equally typed fields, generic over that type, for a rule's coefficients,
/// states or sums.
///
/// ```
/// wgpu_optim::fields! {
///     /// What one step of my rule needs to know.
///     pub struct MyCoeffs { lr, beta }
/// }
/// let c = MyCoeffs { lr: 0.1_f32, beta: 0.9 };
/// # let _ = (c.lr, c.beta);
/// ```
#[macro_export]
macro_rules! fields {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$doc:meta])* $field:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        $vis struct $name<T> { $($(#[$doc])* $vis $field: T),+ }

        impl<T: Copy> $crate::Fields<T> for $name<T> {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];
            #[inline(always)]
            fn from_fn(mut value: impl FnMut(usize) -> T) -> Self {
                let mut position = 0..;
                $(let $field = value(position.next().unwrap_or_default());)+
                Self { $($field),+ }
            }
            #[inline(always)]
            fn each(&self, mut visit: impl FnMut(usize, T)) {
                let mut position = 0..;
                $(visit(position.next().unwrap_or_default(), self.$field);)+
            }
        }
    };
}
