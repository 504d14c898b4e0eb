//! What a step uploads: the verdict and the coefficients that the host computed, or, where the GPU
//! decides about the step, the request by which it computes them.

use crate::control::{Control, Request};
use crate::error::Error;
use crate::gpu::group_layout::group_layout;
use crate::gpu::ring::{Parts, Range, Ring, Slot, bind_ranges};
use crate::layout::limits::Limits;
use crate::layout::pages::{Pages, VERDICT_BYTES};
use crate::layout::words::Words;
use crate::model::Model;
use crate::shader::{Binding, Group, Resource, page_bindings, request_binding};

/// Uploads coefficients, or the request for them, and binds them.
#[derive(Debug)]
pub(super) struct Uploads {
    ring: Ring,
    /// Where the GPU decides: what it computes.
    decided: Option<Decided>,
    /// Reused from step to step.
    coeffs: Vec<f64>,
    upload: Vec<u32>,
}

/// The verdict and the coefficients that the GPU computes, in the same place in every step.
#[derive(Debug)]
struct Decided {
    buffer: wgpu::Buffer,
    /// One for each page.
    bind_groups: Vec<wgpu::BindGroup>,
}

/// What a dispatch binds as group 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Nothing,
    /// The verdict and a page of coefficients, by its number among all.
    Page(usize),
    /// What the host asks of the step.
    Request,
}

impl Uploads {
    /// To be called within an error scope.
    pub fn new(device: &wgpu::Device, limits: &Limits, pages: &Pages, decides: bool) -> Self {
        let bindings = page_bindings();
        let page_layout = group_layout(device, &bindings, Group::Upload);
        let mut groups: Vec<_> = pages.ranges().map(|page| ranges(&bindings, page)).collect();
        let (coeffs, upload) = Default::default();
        if !decides {
            if groups.is_empty() {
                // No step count takes part; a slot's bind group has all bindings nevertheless.
                groups.push(ranges(&bindings, (0, VERDICT_BYTES)));
            }
            let parts = Parts {
                layout: page_layout,
                usage: wgpu::BufferUsages::UNIFORM,
                alignment: limits.min_uniform_buffer_offset_alignment,
                max_buffer: limits.max_buffer_size,
                groups,
            };
            let ring = Ring::new(device, parts, pages.bytes);
            return Self { ring, decided: None, coeffs, upload };
        }
        let parts = Parts {
            layout: group_layout(device, &[request_binding()], Group::Upload),
            usage: wgpu::BufferUsages::STORAGE,
            alignment: limits.min_storage_buffer_offset_alignment,
            max_buffer: limits.max_buffer_size,
            groups: Vec::new(),
        };
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-optim coefficients"),
            size: pages.bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: false,
        });
        let bind = |ranges: &Vec<Range>| bind_ranges(device, &page_layout, &buffer, ranges);
        let bind_groups = groups.iter().map(bind).collect();
        // Most requests fit; a larger one makes room.
        let ring = Ring::new(device, parts, 2 * pages.written);
        let decided = Some(Decided { buffer, bind_groups });
        Self { ring, decided, coeffs, upload }
    }

    /// The coefficients that the GPU computes, if it does.
    pub fn decided(&self) -> Option<&wgpu::Buffer> {
        self.decided.as_ref().map(|decided| &decided.buffer)
    }

    /// Takes every step count to its next step and uploads what the step needs. If it fails, no
    /// count has moved. `arrived` is the number of the latest step that is known to have run.
    pub fn upload(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        model: &mut Model,
        control: &Control,
        pages: &Pages,
        (request, arrived): (&mut Request, u64),
    ) -> Result<Slot, Error> {
        if self.decided.is_some() {
            request.write(control, model, &pages.targets, arrived)?;
            let words = bytemuck::cast_slice(&request.words);
            let slot = self.ring.take(device, words.len() as u64)?;
            let mut memory = self.ring.open((device, queue), &slot, words.len() as u64)?;
            model.advance(control.skips())?;
            memory.copy_from_slice(words);
            return Ok(slot);
        }
        let slot = self.ring.take(device, pages.bytes)?;
        let mut memory = self.ring.open((device, queue), &slot, pages.written)?;
        model.advance(control.skips())?;
        self.upload.clear();
        control.verdict().write(&mut self.upload);
        self.upload.resize(pages.written as usize / 4, 0);
        for target in &pages.targets {
            self.coeffs.clear();
            model.coeffs(target.count, &mut self.coeffs);
            let words = &mut self.upload[target.word as usize..];
            for (word, &coeff) in words.iter_mut().zip(&self.coeffs) {
                *word = (coeff as f32).to_bits();
            }
        }
        memory.copy_from_slice(bytemuck::cast_slice(&self.upload));
        Ok(slot)
    }

    /// Binds group 1.
    pub fn bind(&self, pass: &mut wgpu::ComputePass<'_>, bound: Bound, slot: &Slot) {
        match (bound, &self.decided) {
            (Bound::Nothing, _) => {}
            (Bound::Page(page), Some(decided)) => {
                pass.set_bind_group(1, &decided.bind_groups[page], &[0, 0]);
            }
            (Bound::Page(page), None) => {
                let (bind_group, offset) = self.ring.binding(page, slot);
                pass.set_bind_group(1, bind_group, &[offset, offset]);
            }
            (Bound::Request, _) => {
                let (bind_group, offset) = self.ring.binding(0, slot);
                pass.set_bind_group(1, bind_group, &[offset]);
            }
        }
    }
}

/// The ranges of an upload that kernels of a rule bind, with this page.
fn ranges(bindings: &[Binding], page: Range) -> Vec<Range> {
    let range = |binding: &Binding| match binding.resource {
        Resource::Verdict => (0, VERDICT_BYTES),
        _ => page,
    };
    bindings.iter().map(range).collect()
}
