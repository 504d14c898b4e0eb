//! Building an optimizer on the GPU: checks first, then everything it will ever create there.

use crate::error::Error;
use crate::gpu::engine::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::probe::check_queue;
use crate::layout::limits::need;
use crate::optimizer::{Builder, Optimizer};

/// Refuses devices whose limits are those of older APIs, such as OpenGL's, where a step would bind
/// more than they allow. Kernels that bind too many storage buffers are refused one by one.
pub(super) fn check_downlevel(limits: &wgpu::Limits, decides: bool) -> Result<(), Error> {
    let coefficients = || "a step binds its verdict and its coefficients by dynamic offsets".into();
    let most = limits.max_dynamic_uniform_buffers_per_pipeline_layout;
    need("max_dynamic_uniform_buffers_per_pipeline_layout", most.into(), 2, coefficients())?;
    let most = limits.max_uniform_buffers_per_shader_stage;
    need("max_uniform_buffers_per_shader_stage", most.into(), 2, coefficients())?;
    if decides {
        let reason = "clipping by a norm, skipping, scaling and statistics bind a request by a \
                      dynamic offset";
        let most = limits.max_dynamic_storage_buffers_per_pipeline_layout;
        let name = "max_dynamic_storage_buffers_per_pipeline_layout";
        need(name, most.into(), 1, reason.into())?;
    }
    Ok(())
}

impl Builder<Gpu> {
    /// Compiles pipelines with a cache of yours, which spares the driver's compiler at the next
    /// start.
    pub fn pipeline_cache(mut self, cache: &wgpu::PipelineCache) -> Self {
        self.setup.cache = Some(cache.clone());
        self
    }

    /// Lets gradients in your buffers overlap one another, for engines that step in parts
    /// ([`Optimizer::begin_step`]) and keep one layer's gradients at a time: memory of a gradient
    /// is another's as soon as the first was stepped. A whole step would find all but the last
    /// overwritten, and is refused from then on. Parameters overlap nothing, as always.
    pub fn shared_grads(mut self) -> Self {
        self.setup.shared_grads = true;
        self
    }

    /// Checks everything, then creates states and bind groups, and compiles every pipeline that
    /// steps can come to need. It submits nothing of its own. It polls the device and waits for
    /// what was queued before, to find out whether the queue is the device's own.
    ///
    /// Device, queue, buffers and encoders must come from one [`wgpu::Instance`]: wgpu numbers the
    /// things of each instance anew, so that those of another pass for this one's, or make wgpu
    /// panic where they are used.
    ///
    /// wgpu's OpenGL backend is for one thread: it panics where two record or submit at once, on
    /// one device or on several.
    ///
    /// On Mesa's lavapipe, steps are about a fifth faster on a device with the feature
    /// `SHADER_INT64`.
    ///
    /// A browser tells errors later: there is only [`Self::build_async`] there.
    ///
    /// # Errors
    /// A hyperparameter out of its range, a name given twice, a buffer without `STORAGE`, an offset
    /// or size that does not fit, ranges that overlap, a rule whose WGSL does not fit, a queue or a
    /// buffer of another device, a destroyed buffer, a device that was lost, whose limits are too
    /// low or whose memory is full. A later build may succeed; the device is unharmed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn build(
        mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Result<Optimizer<Gpu>, Error> {
        self.check()?;
        check_downlevel(&device.limits(), self.control.decides())?;
        check_queue(device, queue)?;
        self.built(device, queue)
    }

    /// [`Self::build`], to be awaited: for code that is to run in browsers too, where it is the
    /// only form. Elsewhere it is ready at once.
    ///
    /// # Errors
    /// As [`Self::build`].
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn build_async(
        self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Result<Optimizer<Gpu>, Error> {
        self.build(device, queue)
    }

    /// Creates everything, once device and queue were checked.
    pub(super) fn built(
        mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Result<Optimizer<Gpu>, Error> {
        let engine = Gpu::new(device, queue, &self.control, std::mem::take(&mut self.setup))?;
        let mut optimizer = self.over(engine)?;
        optimizer.engine.prepare(&optimizer.model, &optimizer.control)?;
        Ok(optimizer)
    }
}

impl Optimizer<Gpu> {
    /// Starts an optimizer; add groups, then build it.
    pub fn builder() -> Builder<Gpu> {
        Builder::default()
    }
}
