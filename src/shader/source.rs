//! The WGSL files of the passes, by the names that `// #import` uses.

macro_rules! sources {
    ($($name:literal),+ $(,)?) => {
        /// A file's text.
        pub(crate) fn source(name: &str) -> Option<&'static str> {
            match name {
                $($name => {
                    Some(include_str!(concat!("../../shaders/passes/", $name, ".wgsl")))
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
    "pairs",
    "partials",
    "parts",
    "program",
    "squares",
    "subgroups",
    "sum",
    "table",
    "tree",
    "update",
    "wide",
    "zero",
);
