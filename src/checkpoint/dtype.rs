//! The types of arrays in a file.

use crate::model::Codec;
use crate::optimizer::Engine;

/// Declares the types with their names in files and their sizes in bytes.
macro_rules! dtypes {
    ($($dtype:ident = $name:literal, $size:literal;)+) => {
        /// The type of an array's elements, as safetensors names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "they are what they are called")]
        #[non_exhaustive]
        pub enum Dtype { $($dtype),+ }

        impl Dtype {
            /// Its name in files.
            pub fn name(self) -> &'static str {
                match self { $(Self::$dtype => $name),+ }
            }

            /// Bytes of an element.
            pub fn size(self) -> u64 {
                match self { $(Self::$dtype => $size),+ }
            }

            pub(super) fn of_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$dtype),)+ _ => None }
            }
        }
    };
}

dtypes! {
    F64 = "F64", 8;
    I64 = "I64", 8;
    U64 = "U64", 8;
    F32 = "F32", 4;
    I32 = "I32", 4;
    U32 = "U32", 4;
    F16 = "F16", 2;
    Bf16 = "BF16", 2;
    I16 = "I16", 2;
    U16 = "U16", 2;
    F8E4M3 = "F8_E4M3", 1;
    F8E5M2 = "F8_E5M2", 1;
    I8 = "I8", 1;
    U8 = "U8", 1;
    Bool = "BOOL", 1;
}

impl Dtype {
    /// How an engine's array is written. Those in 8 bits are two arrays: this is the codes'.
    pub(super) fn of<E: Engine>(codec: Codec) -> Self {
        match codec {
            Codec::F32 if size_of::<E::Element>() == 8 => Self::F64,
            Codec::F32 => Self::F32,
            Codec::F16 => Self::F16,
            Codec::Bf16 => Self::Bf16,
            Codec::I16 => Self::I16,
            Codec::Block8(_) => Self::U8,
        }
    }

    /// How many significant bits a number has, if it is one with a fraction.
    pub(super) fn significant_bits(self) -> Option<u32> {
        match self {
            Self::F64 => Some(53),
            Self::F32 => Some(24),
            Self::F16 => Some(11),
            Self::Bf16 => Some(8),
            _ => None,
        }
    }

    /// Whether every number of this type is one of the other.
    pub(super) fn widens_to(self, other: Self) -> bool {
        self == other
            || match (self, other) {
                // bf16 has a wider range, f16 more digits.
                (Self::F16, Self::Bf16) | (Self::Bf16, Self::F16) => false,
                _ => match [self, other].map(Self::significant_bits) {
                    [Some(own), Some(wider)] => own < wider,
                    _ => false,
                },
            }
    }
}
