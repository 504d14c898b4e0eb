//! The WGSL files of the passes and the codecs, by the names that `// #import` uses.

macro_rules! sources {
    ($($name:literal),+; $($format:literal),+) => {
        /// A file's text.
        pub(crate) fn source(name: &str) -> Option<&'static str> {
            match name {
                $($name => {
                    Some(include_str!(concat!("../../shaders/passes/", $name, ".wgsl")))
                })+
                $($format => {
                    Some(include_str!(concat!("../../shaders/formats/", $format, ".wgsl")))
                })+
                _ => None,
            }
        }
    };
}

sources!(
    "add_up",
    "around",
    "blocks",
    "decide",
    "gather",
    "grow",
    "lengths",
    "measure",
    "measures",
    "modify",
    "pairs",
    "partials",
    "parts",
    "program",
    "squares",
    "subgroups",
    "sum",
    "sum_grads",
    "sum_updates",
    "swap",
    "table",
    "tree",
    "update",
    "wide",
    "zero";
    "bf16",
    "codes",
    "companded",
    "companded_root",
    "decades",
    "f16",
    "noise"
);
