//! The options of Adam's kernel, and the WGSL that they result in.

use super::support::gpu::Gpu;
use std::fmt::Write;
use wgpu_optim::wgpu;

/// How a thread finds where its elements are.
#[derive(Clone, Copy, PartialEq)]
pub enum Segments {
    /// There is one tensor, so that nothing is looked up.
    None,
    /// A row for each block of 256 elements, as the crate does.
    Table,
    /// A row for each tensor, found by binary search.
    Search,
}

/// How the kernel reads coefficients.
#[derive(Clone, Copy, PartialEq)]
pub enum Coeffs {
    Uniform,
    Storage,
    Immediates,
}

/// A kernel. The crate's has a vec4 for each thread, workgroups of 256, a grid of two dimensions, a
/// table and a uniform.
#[derive(Clone, Copy, PartialEq)]
pub struct Variant {
    /// f32 in an element of the arrays: 4 or 1.
    pub lanes: u32,
    /// How many elements of the arrays a thread updates.
    pub per_thread: u32,
    /// Whether four f32 are moved as two words of 64 bits.
    pub u64: bool,
    /// Whether threads past the end skip their loads too, and not only their stores.
    pub branch: bool,
    pub workgroup: u32,
    pub dimensions: u32,
    pub segments: Segments,
    pub coeffs: Coeffs,
    /// Whether gradients are bound for writing, as in a buffer that also holds parameters.
    pub writable_grads: bool,
    /// Whether wgpu's runtime checks are on.
    pub checks: bool,
}

/// Tensors in the tables, and elements in a block.
pub const SEGMENTS: u32 = 1024;
pub const BLOCK: u32 = 256;

const BASE: Variant = Variant {
    lanes: 4,
    per_thread: 1,
    u64: false,
    branch: false,
    workgroup: 256,
    dimensions: 2,
    segments: Segments::None,
    coeffs: Coeffs::Uniform,
    writable_grads: false,
    checks: true,
};

/// Each option changed alone, and some combinations that could be faster.
pub fn all() -> Vec<Variant> {
    let mut all =
        vec![BASE, Variant { lanes: 1, ..BASE }, Variant { lanes: 1, per_thread: 4, ..BASE }];
    all.extend([2, 4].map(|per_thread| Variant { per_thread, ..BASE }));
    all.extend([64, 128, 512, 1024].map(|workgroup| Variant { workgroup, ..BASE }));
    all.push(Variant { dimensions: 1, ..BASE });
    all.extend([Coeffs::Storage, Coeffs::Immediates].map(|coeffs| Variant { coeffs, ..BASE }));
    all.push(Variant { writable_grads: true, ..BASE });
    all.push(Variant { checks: false, ..BASE });
    all.extend([false, true].map(|u64| Variant { u64, branch: true, ..BASE }));
    all.push(Variant { u64: true, ..BASE });
    for segments in [Segments::Table, Segments::Search] {
        let base = Variant { segments, ..BASE };
        all.extend([1, 2, 4].map(|per_thread| Variant { per_thread, ..base }));
        all.extend([64, 128, 512].map(|workgroup| Variant { workgroup, ..base }));
        all.push(Variant { checks: false, ..base });
        all.push(Variant { u64: true, ..base });
    }
    all
}

impl Variant {
    /// What differs from the base.
    pub fn name(&self) -> String {
        let mut name = match self.segments {
            Segments::None => "one tensor",
            Segments::Table => "table",
            Segments::Search => "search",
        }
        .to_owned();
        let kind = if self.lanes == 4 { "vec4" } else { "scalar" };
        if (self.lanes, self.per_thread) != (BASE.lanes, BASE.per_thread) {
            let _ = write!(name, ", {} {kind} a thread", self.per_thread);
        }
        if self.workgroup != BASE.workgroup {
            let _ = write!(name, ", workgroup {}", self.workgroup);
        }
        let options = [
            (self.u64, "64-bit words"),
            (self.branch, "loads in a branch"),
            (self.dimensions == 1, "one dimension"),
            (self.coeffs == Coeffs::Storage, "coefficients in storage"),
            (self.coeffs == Coeffs::Immediates, "immediates"),
            (self.writable_grads, "writable gradients"),
            (!self.checks, "no runtime checks"),
        ];
        options.iter().filter(|(on, _)| *on).for_each(|(_, option)| name += &format!(", {option}"));
        name
    }

    pub fn workgroups(&self, elements: usize) -> u32 {
        elements.div_ceil((self.lanes * self.per_thread * self.workgroup) as usize) as u32
    }

    pub fn runs_on(&self, gpu: &Gpu, elements: usize) -> bool {
        let limits = gpu.device.limits();
        let fits = self.workgroup <= limits.max_compute_invocations_per_workgroup
            && self.workgroup <= limits.max_compute_workgroup_size_x;
        let reaches = self.dimensions == 2
            || self.workgroups(elements) <= limits.max_compute_workgroups_per_dimension;
        let has_u64 = gpu.device.features().contains(wgpu::Features::SHADER_INT64);
        let has_immediates = gpu.device.features().contains(wgpu::Features::IMMEDIATES);
        let is_readable = self.coeffs != Coeffs::Immediates || has_immediates;
        let divides = elements.is_multiple_of((SEGMENTS * BLOCK) as usize);
        fits && reaches && is_readable && divides && (has_u64 || !self.u64)
    }

    /// The kernel. A thread's loads come before its stores.
    pub fn wgsl(&self) -> String {
        let mut text = self.head();
        if self.branch {
            text += "    if first > last {\n        return;\n    }\n";
        }
        for k in 0..self.per_thread {
            let _ = write!(
                text,
                "    let i{k} = first + {k}u * WORKGROUP;\n\
                 \x20   let at{k} = place(min(i{k}, last));\n\
                 \x20   let g{k} = real(grads[at{k}.y]);\n\
                 \x20   let p{k} = real(params[at{k}.x]);\n\
                 \x20   let m{k} = coeffs.beta1 * real(exp_avg[at{k}.z]) + coeffs.one_minus_beta1 * g{k};\n\
                 \x20   let v{k} = coeffs.beta2 * real(exp_avg_sq[at{k}.z]) + coeffs.one_minus_beta2 * g{k} * g{k};\n"
            );
        }
        for k in 0..self.per_thread {
            let _ = write!(
                text,
                "    if i{k} <= last {{\n\
                 \x20       exp_avg[at{k}.z] = word(m{k});\n\
                 \x20       exp_avg_sq[at{k}.z] = word(v{k});\n\
                 \x20       let root{k} = sqrt(v{k}) * coeffs.inv_sqrt_bias2 + coeffs.eps;\n\
                 \x20       params[at{k}.x] = word(p{k} - coeffs.step_size * (m{k} / root{k}));\n\
                 \x20   }}\n"
            );
        }
        text + "}\n"
    }

    /// The text before the updates.
    fn head(&self) -> String {
        let real = if self.lanes == 4 { "vec4<f32>" } else { "f32" };
        let words = match self.u64 {
            true => include_str!("words.u64.wgsl"),
            false => include_str!("words.wgsl"),
        };
        let coeffs = match self.coeffs {
            Coeffs::Uniform => "@group(0) @binding(5) var<uniform>",
            Coeffs::Storage => "@group(0) @binding(5) var<storage, read>",
            Coeffs::Immediates => "var<immediate>",
        };
        let index = match self.dimensions {
            1 => "workgroup.x",
            _ => "(workgroup.y * grid.x + workgroup.x)",
        };
        let text = include_str!("template.wgsl")
            .replace("$WORDS", words)
            .replace("$REAL", real)
            .replace("$WORKGROUP_INDEX", index)
            .replace("$WORKGROUP", &self.workgroup.to_string())
            .replace("$PER_THREAD", &self.per_thread.to_string())
            .replace("$COEFFS", coeffs)
            .replace("$GRADS", if self.writable_grads { "read_write" } else { "read" });
        text.replace("$PLACE", &self.place())
    }

    /// The body of `place`: where the i-th Real is in the arrays of parameters, gradients and
    /// states.
    fn place(&self) -> String {
        let reals = |elements: u32| elements / self.lanes;
        let block = reals(BLOCK);
        match self.segments {
            Segments::None => "    return vec3<u32>(i);\n".into(),
            Segments::Table => format!(
                "    let row = table[i / {block}u];\n    return row.xyz / {}u + i % {block}u;\n",
                self.lanes
            ),
            // Without a loop, to which naga would add a guard.
            Segments::Search => {
                let mut text = String::from("    var found = 0u;\n");
                for step in (0..SEGMENTS.ilog2()).rev().map(|bit| 1 << bit) {
                    let _ = writeln!(
                        text,
                        "    found = select(found, found + {step}u, table[found + {step}u].w <= i * {}u);",
                        self.lanes
                    );
                }
                text += "    let row = table[found];\n";
                text + &format!("    return (row.xyz + i * {0}u - row.w) / {0}u;\n", self.lanes)
            }
        }
    }

    /// The rows that `place` reads: where parameters, gradients and states start, and for a search
    /// also the first element.
    pub fn table(&self, elements: usize) -> Vec<[u32; 4]> {
        let (rows, size) = match self.segments {
            Segments::None => (1, 0),
            Segments::Table => (elements / BLOCK as usize, BLOCK as usize),
            Segments::Search => (SEGMENTS as usize, elements / SEGMENTS as usize),
        };
        (0..rows).map(|row| [(row * size) as u32; 4]).collect()
    }
}
