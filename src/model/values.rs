//! What host loops pass in: slices, vectors and ndarray arrays of any shape and memory order.

use ndarray::{ArrayBase, Data, Dimension};
use std::borrow::Cow;

/// A tensor's elements in row-major order. Implemented for slices, arrays, vectors and every
/// [`ndarray`] array; nothing is copied if the elements are in that order already.
pub trait Values<T: Clone> {
    /// The elements.
    fn values(&self) -> Cow<'_, [T]>;
}

impl<T: Clone> Values<T> for [T] {
    fn values(&self) -> Cow<'_, [T]> {
        Cow::Borrowed(self)
    }
}

impl<T: Clone, const N: usize> Values<T> for [T; N] {
    fn values(&self) -> Cow<'_, [T]> {
        Cow::Borrowed(self)
    }
}

impl<T: Clone> Values<T> for Vec<T> {
    fn values(&self) -> Cow<'_, [T]> {
        Cow::Borrowed(self)
    }
}

impl<T: Clone, S: Data<Elem = T>, D: Dimension> Values<T> for ArrayBase<S, D> {
    fn values(&self) -> Cow<'_, [T]> {
        match self.as_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(self.iter().cloned().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_transposed_array_is_read_in_row_major_order() {
        let a = array![[1, 2, 3], [4, 5, 6]];
        assert!(matches!(a.values(), Cow::Borrowed([1, 2, 3, 4, 5, 6])));
        assert_eq!(a.t().values(), vec![1, 4, 2, 5, 3, 6]);
    }
}
