//! A descent on the GPU: gradients, steps and the recording of paths. The host reads nothing before
//! the end; it only limits how many submissions are unfinished.

use crate::descent::{Descent, NEAR, Outcome};
use crate::gpu::Gpu;
use std::error::Error;
use std::num::NonZeroU64;
use std::sync::mpsc;
use std::time::Instant;
use wgpu_optim::{Optimizer, wgpu};

/// Threads of a workgroup, as in the WGSL.
const WORKGROUP_SIZE: usize = 64;

/// The host records this many steps while the GPU runs the submission before.
const STEPS_PER_SUBMISSION: usize = 16;

/// Bytes of a position.
const POSITION_BYTES: u64 = 8;

pub fn run(gpu: &Gpu, descent: &Descent<'_>) -> Result<Outcome, Box<dyn Error>> {
    let mut run = Run::new(gpu, descent)?;
    let begin = Instant::now();
    run.descend()?;
    let elapsed = begin.elapsed();
    let arrivals: Vec<[u32; 2]> = read(gpu, &run.arrivals)?;
    let arrived = |[steps, near]: [u32; 2]| (near == 1).then_some(steps as usize);
    Ok(Outcome {
        history: read(gpu, &run.history)?,
        recorded_starts: descent.recorded_starts(),
        arrivals: arrivals.into_iter().map(arrived).collect(),
        elapsed,
    })
}

struct Run<'a> {
    gpu: &'a Gpu,
    descent: &'a Descent<'a>,
    optimizer: Optimizer,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    history: wgpu::Buffer,
    arrivals: wgpu::Buffer,
}

impl<'a> Run<'a> {
    fn new(gpu: &'a Gpu, descent: &'a Descent<'a>) -> Result<Self, Box<dyn Error>> {
        let count = descent.starts.len();
        // All starts are one parameter, a row of x and y for each, in the optimizer's arena.
        let mut optimizer = Optimizer::builder()
            .group(descent.rule.boxed(), [("xy", [count, 2])])
            .build(&gpu.device, &gpu.queue)?;
        optimizer.set_param("xy", descent.starts.as_flattened())?;

        let pipeline = pipeline(gpu, descent);
        let arrivals = buffer(gpu, "arrivals", count as u64 * 8);
        let recorded = descent.recorded_starts() as u64 * POSITION_BYTES;
        let history = buffer(gpu, "history", (descent.steps as u64 + 1) * recorded);
        let entries = [
            binding(only(optimizer.param("xy")?)?),
            binding(only(optimizer.grad("xy")?)?),
            arrivals.as_entire_binding(),
        ];
        let mut index = 0..;
        let entries = entries.map(|resource| wgpu::BindGroupEntry {
            binding: index.next().unwrap_or_default(),
            resource,
        });
        let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Ok(Self { gpu, descent, optimizer, pipeline, bind_group, history, arrivals })
    }

    /// Submits all steps, and waits until the GPU has finished them.
    fn descend(&mut self) -> Result<(), Box<dyn Error>> {
        let steps: Vec<usize> = (0..=self.descent.steps).collect();
        let mut previous = None;
        for steps in steps.chunks(STEPS_PER_SUBMISSION) {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            for &step in steps {
                self.record(&mut encoder, step)?;
            }
            let submission = self.gpu.queue.submit([encoder.finish()]);
            // The GPU runs this submission while the host records the next.
            if let Some(submission_index) = previous.replace(submission) {
                self.gpu.device.poll(wgpu::PollType::Wait {
                    submission_index: Some(submission_index),
                    timeout: None,
                })?;
            }
        }
        self.gpu.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(())
    }

    /// Records the copy of the positions after this many steps, then the next step, if there is
    /// one.
    fn record(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        step: usize,
    ) -> Result<(), Box<dyn Error>> {
        let position = only(self.optimizer.param("xy")?)?;
        let size = self.descent.recorded_starts() as u64 * POSITION_BYTES;
        encoder.copy_buffer_to_buffer(
            position.buffer(),
            position.offset(),
            &self.history,
            step as u64 * size,
            size,
        );
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        let workgroups = self.descent.starts.len().div_ceil(WORKGROUP_SIZE) as u32;
        pass.dispatch_workgroups(workgroups, 1, 1);
        if step < self.descent.steps {
            self.optimizer.step_in_pass(&mut pass)?;
        }
        Ok(())
    }
}

fn pipeline(gpu: &Gpu, descent: &Descent<'_>) -> wgpu::ComputePipeline {
    let module = gpu.device.create_shader_module(wgpu::include_wgsl!("gradient.wgsl"));
    let [x, y] = descent.function.minimum();
    gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(descent.function.name()),
        layout: None, // wgpu derives it from the bindings that the entry point uses
        module: &module,
        entry_point: Some(descent.function.name()),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[("MINIMUM_X", x), ("MINIMUM_Y", y), ("NEAR", NEAR)],
            ..Default::default()
        },
        cache: None,
    })
}

/// A buffer of zeros.
fn buffer(gpu: &Gpu, label: &str, size: u64) -> wgpu::Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// The only slice of a parameter. There are more if no buffer can hold it whole.
fn only(slices: Vec<wgpu::BufferSlice<'_>>) -> Result<wgpu::BufferSlice<'_>, String> {
    match slices[..] {
        [slice] => Ok(slice),
        _ => Err("No buffer of this GPU can hold all starts. Give fewer with --starts".into()),
    }
}

fn binding(slice: wgpu::BufferSlice<'_>) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: slice.buffer(),
        offset: slice.offset(),
        size: NonZeroU64::new(slice.size()),
    })
}

/// Reads a buffer back after everything submitted so far has run.
fn read<T: bytemuck::Pod>(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<Vec<T>, Box<dyn Error>> {
    let (sender, receiver) = mpsc::channel();
    let slice = buffer.slice(..);
    wgpu::util::DownloadBuffer::read_buffer(&gpu.device, &gpu.queue, &slice, move |data| {
        // Fails only if the receiver was dropped.
        let _ = sender.send(data);
    });
    gpu.device.poll(wgpu::PollType::wait_indefinitely())?;
    let data = receiver.recv()??;
    Ok(bytemuck::pod_collect_to_vec(&data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descent::starts;
    use crate::function::Function;
    use crate::on_cpu;
    use clap::ValueEnum;
    use wgpu_optim::{Adam, SGD};

    fn gpu() -> Gpu {
        Gpu::open().expect("these tests need a GPU or a software driver")
    }

    #[test]
    fn gradients_are_those_of_the_functions() {
        let gpu = gpu();
        for &function in Function::value_variants() {
            let starts = starts(function, 1000);
            let rule = SGD { lr: 0.0, ..Default::default() }.into();
            let descent = Descent { function, rule, starts: &starts, steps: 1 };
            let mut run = Run::new(&gpu, &descent).unwrap();
            run.descend().unwrap();
            let gradients = run.optimizer.read_grad("xy").unwrap().wait().unwrap();
            for (found, start) in gradients.chunks(2).zip(&starts) {
                let expected = function.gradient(start.map(f64::from));
                for (&found, expected) in found.iter().zip(expected) {
                    let tolerance = 1e-4 * (1.0 + expected.abs());
                    assert!((f64::from(found) - expected).abs() < tolerance, "{function:?}");
                }
            }
        }
    }

    #[test]
    fn paths_and_arrivals_are_those_of_the_cpu() {
        let gpu = gpu();
        let function = Function::Beale;
        let starts = starts(function, 100);
        let rule = Adam { lr: 0.1, ..Default::default() }.into();
        let descent = Descent { function, rule, starts: &starts, steps: 300 };
        let [on_gpu, on_cpu] = [run(&gpu, &descent).unwrap(), on_cpu::run(&descent).unwrap()];
        assert_eq!(on_gpu.history.len(), 301 * descent.recorded_starts());
        for (found, expected) in on_gpu.path(0).iter().zip(on_cpu.path(0)) {
            assert!((found[0] - expected[0]).hypot(found[1] - expected[1]) < 1e-2);
        }
        assert!(on_cpu.arrived() > 0.5);
        assert!((on_gpu.arrived() - on_cpu.arrived()).abs() < 0.05);
    }
}
