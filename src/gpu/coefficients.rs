//! The coefficients of a step: computed by the host and uploaded, or, where the GPU decides on the step,
//! computed there from what the host uploads.

use super::kernel::buffer_entry;
use super::ring::{Parts, Ring, Slot, bind_ranges};
use crate::control::Control;
use crate::error::Error;
use crate::groups::Groups;
use crate::pages::Pages;
use crate::request::Request;

/// Uploads coefficients, or the request for them, and binds them.
#[derive(Debug)]
pub(super) struct Coefficients {
    ring: Ring,
    /// Where the GPU decides: what its decisions are written to.
    decided: Option<Decided>,
    /// Reused from step to step.
    coeffs: Vec<f64>,
    upload: Vec<u32>,
    request: Request,
}

/// Coefficients that the GPU computes, the same in every step.
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
    /// A page of coefficients, by its number among all.
    Page(usize),
    /// What the host asks of the step.
    Request,
}

/// The layouts of bind group 1.
#[derive(Debug, Clone)]
pub(super) struct Layouts {
    pub page: wgpu::BindGroupLayout,
    pub request: wgpu::BindGroupLayout,
}

impl Layouts {
    pub fn new(device: &wgpu::Device) -> Self {
        let layout = |ty| {
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("wgpu-optim uploads"),
                entries: &[buffer_entry(0, ty, true)],
            })
        };
        Self {
            page: layout(wgpu::BufferBindingType::Uniform),
            request: layout(wgpu::BufferBindingType::Storage { read_only: true }),
        }
    }
}

impl Coefficients {
    /// To be called within an error scope.
    pub fn new(device: &wgpu::Device, layouts: &Layouts, pages: &Pages, decides: bool) -> Self {
        let limits = device.limits();
        let (coeffs, upload, request) = Default::default();
        if !decides {
            let parts = Parts {
                layout: layouts.page.clone(),
                usage: wgpu::BufferUsages::UNIFORM,
                alignment: limits.min_uniform_buffer_offset_alignment.into(),
                ranges: pages.ranges().collect(),
            };
            let ring = Ring::new(device, parts, pages.bytes);
            return Self { ring, decided: None, coeffs, upload, request };
        }
        let parts = Parts {
            layout: layouts.request.clone(),
            usage: wgpu::BufferUsages::STORAGE,
            alignment: limits.min_storage_buffer_offset_alignment.into(),
            ranges: Vec::new(),
        };
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-optim coefficients"),
            size: pages.bytes.max(4),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: false,
        });
        let bind_groups = bind_ranges(device, &layouts.page, &buffer, pages.ranges());
        // Most requests fit; a larger one makes room.
        let ring = Ring::new(device, parts, 2 * pages.bytes);
        let decided = Some(Decided { buffer, bind_groups });
        Self { ring, decided, coeffs, upload, request }
    }

    /// The coefficients that the GPU computes, if it does.
    pub fn decided(&self) -> Option<&wgpu::Buffer> {
        self.decided.as_ref().map(|decided| &decided.buffer)
    }

    /// Takes every group to its next step and uploads the coefficients for it, or the request for them. If
    /// it fails, no group has moved.
    pub fn upload(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        groups: &mut Groups,
        control: &Control,
        pages: &Pages,
    ) -> Result<Slot, Error> {
        if self.decided.is_some() {
            self.request.write(control, groups, &pages.targets)?;
            let words = bytemuck::cast_slice(&self.request.words);
            let slot = self.ring.take(device, words.len() as u64)?;
            groups.advance();
            self.ring.write(queue, &slot, words);
            return Ok(slot);
        }
        let slot = self.ring.take(device, pages.bytes)?;
        groups.advance();
        self.upload.clear();
        self.upload.resize(pages.bytes as usize / 4, 0);
        for target in &pages.targets {
            self.coeffs.clear();
            groups.coeffs(target.clock, &mut self.coeffs);
            control.shape(&mut self.coeffs, 1.0 / control.divisor());
            let words = &mut self.upload[target.word as usize..];
            for (word, &coeff) in words.iter_mut().zip(&self.coeffs) {
                *word = (coeff as f32).to_bits();
            }
        }
        self.ring.write(queue, &slot, bytemuck::cast_slice(&self.upload));
        Ok(slot)
    }

    /// What binds group 1 in a step: the bind group and its dynamic offset.
    pub fn binding(&self, bound: Bound, slot: &Slot) -> Option<(&wgpu::BindGroup, u32)> {
        match (bound, &self.decided) {
            (Bound::Nothing, _) => None,
            (Bound::Page(page), Some(decided)) => Some((&decided.bind_groups[page], 0)),
            (Bound::Page(page), None) => Some(self.ring.binding(page, slot)),
            (Bound::Request, _) => Some(self.ring.binding(0, slot)),
        }
    }
}
