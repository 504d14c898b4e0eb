//! The WGSL of codecs that are made for a kernel: what is kept beside 16-bit parameters, and the
//! dynamic codes of 8 bits.

use crate::model::{Code, Codec, Formats, Keeping, Map};

/// A file of `shaders/formats`.
macro_rules! format_file {
    ($name:literal) => {
        include_str!(concat!("../../shaders/formats/", $name, ".wgsl"))
    };
}
pub(crate) use format_file;

/// How a 16-bit parameter and what is kept beside it are read and written, if they are by more than
/// loads and stores.
pub(crate) fn keep(formats: &Formats) -> Option<String> {
    let text = match formats.keeping {
        Keeping::Nothing => return None,
        Keeping::Chance => format_file!("keep.chance"),
        Keeping::Master => format_file!("keep.master"),
        Keeping::Remainder => format_file!("keep.remainder"),
        Keeping::Loss => format_file!("keep.loss"),
    };
    Some(text.replace("CODEC", name(formats.param)))
}

/// A codec's name in functions, `decode_NAME`; empty if elements are not coded.
pub(crate) fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::F32 | Codec::I16 => "",
        Codec::F16 => "f16",
        Codec::Bf16 => "bf16",
        Codec::Block8(Code { map: Map::Dynamic, signed: true }) => "signed",
        Codec::Block8(Code { map: Map::Dynamic, signed: false }) => "unsigned",
        Codec::Block8(Code { map: Map::Companded, signed: true }) => "companded",
        Codec::Block8(Code { map: Map::Companded, signed: false }) => "companded_root",
    }
}

/// A codec's functions, by the name that files import them by.
pub(crate) fn functions(name: &'static str) -> Option<String> {
    let code = |file: &str, first: &str, last: &str| {
        let text = format_file!("block8").replace("KIND", name);
        let text = text.replace("FIRST", first).replace("LAST", last);
        // The file after the code that it is made of.
        text + file
    };
    match name {
        "signed" => Some(code(format_file!("block8.signed"), "1", "128")),
        "unsigned" => Some(code(format_file!("block8.unsigned"), "2", "255")),
        _ => None,
    }
}
