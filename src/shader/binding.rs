//! What kernels bind: one list a kernel, from which come its WGSL declarations, its bind group
//! layouts, the number of storage buffers it needs, and, by resource, the buffers that are bound.

use crate::layout::geometry::Transport;
use crate::model::Codec;
use crate::rule::Pass;
use crate::shader::codec::{self, format_file};
use std::fmt::Write;

/// Something that kernels bind, by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A row for each block of a dispatch.
    Table,
    /// Each block's place among the partial sums, and its tensor's index.
    Tensors,
    /// Each block's index within its parameter, and what the parameter's chances depend on.
    Origins,
    /// Parameters.
    Params,
    /// Gradients.
    Grads,
    /// The n-th state in use.
    State(usize),
    /// What a pass of a rule added up, a tensor each.
    Totals(Pass),
    /// Partial sums, a block each, that the kernel writes.
    Partials,
    /// The verdict about the step.
    Verdict,
    /// A page of coefficient slots.
    Page,
    /// The pieces of which a table is made.
    Pieces,
    /// Where to look for a row's piece.
    Nearest,
    /// Which parts are added up to one.
    Rows,
    /// Which rows a workgroup adds up.
    Runs,
    /// What is added up.
    Parts,
    /// What it came to.
    Sums,
    /// Measures of all gradients, in a few entries.
    Gathered,
    /// The loss scale.
    LossScale,
    /// What the host may read about the step.
    Report,
    /// Step counts.
    Counts,
    /// The buffer of step counts before it grew.
    Outgrown,
    /// The verdict and all pages of coefficients, as the deciding kernel writes them.
    Coeffs,
    /// What the host asks of the step.
    Request,
}

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// A storage buffer, read.
    Read,
    /// A storage buffer, read and written.
    ReadWrite,
    /// A uniform buffer.
    Uniform,
}

/// The bind group of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// What stays from step to step.
    Fixed = 0,
    /// What each step uploads, at a dynamic offset.
    Upload = 1,
}

/// One binding of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// What is bound.
    pub resource: Resource,
    /// How it is used.
    pub access: Access,
    /// Its name in the WGSL.
    pub name: String,
    /// Its WGSL type.
    ty: String,
    /// How its elements are loaded and stored, if it is an array of elements: texts in which ARRAY
    /// stands for the name, and CODEC for the codec's.
    accessor: &'static [&'static str],
    /// The codec's name; it is a file, if elements are coded at all.
    pub(crate) codec: &'static str,
    /// The binding that its elements are in, if it has none of its own.
    within: Option<&'static str>,
}

impl Binding {
    /// A binding of this WGSL type.
    pub(crate) fn new(
        resource: Resource,
        access: Access,
        name: impl Into<String>,
        ty: impl Into<String>,
    ) -> Self {
        let (name, ty) = (name.into(), ty.into());
        Self { resource, access, name, ty, accessor: &[], codec: "", within: None }
    }

    /// An array of elements, with its functions `load_NAME` and, if written, `store_NAME`; where
    /// they have 16 bits also `halves_NAME` and `put_NAME`, which take them as they are stored.
    pub(crate) fn elements(
        resource: Resource,
        access: Access,
        name: impl Into<String>,
        (codec, transport): (Codec, Transport),
    ) -> Self {
        let is_written = access == Access::ReadWrite;
        let (ty, accessor) = match codec {
            Codec::F32 => words(transport),
            Codec::F16 | Codec::Bf16 => halves(transport, is_written, true),
            Codec::I16 => halves(transport, is_written, false),
            Codec::Block8(_) => ("array<u32>", &[format_file!("block8.array")][..]),
        };
        let codec = codec::name(codec);
        Self { accessor, codec, ..Self::new(resource, access, name, ty) }
    }

    /// The same of f32 in a binding that has 16-bit elements too.
    pub(crate) fn in_words(self, transport: Transport) -> Self {
        let (ty, accessor) = match transport {
            Transport::Shared => ("array<atomic<u32>>", &[format_file!("f32.atomics")][..]),
            _ => ("array<u32>", &[format_file!("f32.words")][..]),
        };
        Self { ty: ty.into(), accessor, ..self }
    }

    /// The same in another's binding, of the same type.
    pub(crate) fn within(self, other: &'static str) -> Self {
        Self { within: Some(other), ..self }
    }

    /// The group it belongs to.
    pub fn group(&self) -> Group {
        match self.resource {
            Resource::Verdict | Resource::Page | Resource::Request => Group::Upload,
            _ => Group::Fixed,
        }
    }

    /// Its functions, if it is an array of elements, to be linked with a flag for what is written.
    pub(crate) fn accessor(&self) -> Option<String> {
        let text = self.accessor.concat();
        let text = match self.within {
            Some(other) => text.replace("ARRAY[", &format!("{other}[")),
            None => text,
        };
        let text = text.replace("ARRAY", &self.name).replace("CODEC", self.codec);
        (!text.is_empty()).then_some(text)
    }

    /// The flag of an array of elements that is written.
    pub(crate) fn written_flag(&self) -> Option<String> {
        (self.access == Access::ReadWrite).then(|| format!("{}_is_written", self.name))
    }
}

/// The type of an array of f32, and how each transport moves them.
fn words(transport: Transport) -> (&'static str, &'static [&'static str]) {
    match transport {
        Transport::Vec4 => ("array<vec4<f32>>", &[format_file!("f32.vec4")]),
        Transport::U64 => ("array<vec2<u64>>", &[format_file!("f32.u64")]),
        Transport::Scalar | Transport::Shared => ("array<f32>", &[format_file!("f32.scalar")]),
    }
}

/// The type of an array of 16-bit elements, and how each transport moves them.
fn halves(
    transport: Transport,
    is_written: bool,
    is_coded: bool,
) -> (&'static str, &'static [&'static str]) {
    const CODED: &str = format_file!("half.coded");
    let (ty, texts): (_, &'static [&'static str]) = match transport {
        Transport::Vec4 | Transport::U64 => {
            ("array<vec2<u32>>", &[format_file!("half.words"), CODED])
        }
        Transport::Scalar => ("array<u32>", &[format_file!("half.scalar"), CODED]),
        Transport::Shared if is_written => {
            ("array<atomic<u32>>", &[format_file!("half.shared"), CODED])
        }
        Transport::Shared => ("array<u32>", &[format_file!("half.shared"), CODED]),
    };
    (ty, if is_coded { texts } else { &texts[..1] })
}

/// The bindings of a group, each with its number.
pub fn in_group(bindings: &[Binding], group: Group) -> impl Iterator<Item = (u32, &Binding)> {
    (0..).zip(bindings.iter().filter(move |binding| binding.group() == group))
}

/// How many storage buffers these are.
pub fn storage_buffers(bindings: &[Binding]) -> u64 {
    bindings.iter().filter(|binding| binding.access != Access::Uniform).count() as u64
}

/// The WGSL declarations.
pub(crate) fn declarations(bindings: &[Binding]) -> String {
    let mut text = String::new();
    for group in [Group::Fixed, Group::Upload] {
        for (number, Binding { access, name, ty, .. }) in in_group(bindings, group) {
            let space = match access {
                Access::Read => "storage, read",
                Access::ReadWrite => "storage, read_write",
                Access::Uniform => "uniform",
            };
            let group = group as u32;
            let _ = writeln!(text, "@group({group}) @binding({number}) var<{space}> {name}: {ty};");
        }
    }
    text
}
