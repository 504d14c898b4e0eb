//! One device's optimizer of the core crate.

use crate::collect::Job;
use crate::config::FusedConfig;
use crate::device::Handles;
use crate::error::Error;
use crate::seam::Places;
use burn::module::ParamId;
use wgpu_optim::wgpu;
use wgpu_optim::{Optimizer, Param};

#[derive(Debug)]
pub(crate) struct Engine {
    handles: Handles,
    config: FusedConfig,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    optimizer: Optimizer,
    /// What the optimizer was built for.
    members: Vec<Member>,
    grads: wgpu::Buffer,
}

#[derive(Debug, Clone, PartialEq)]
struct Member {
    id: ParamId,
    buffer: wgpu::Buffer,
    offset: u64,
    len: usize,
    group: usize,
    grad_offset: u64,
}

impl Engine {
    pub fn new(handles: Handles, config: FusedConfig) -> Self {
        Self { handles, config, running: None }
    }

    pub fn step(&mut self, jobs: &[Job], places: &[Places]) -> Result<(), Error> {
        let members = members(jobs, places);
        if self.running.as_ref().is_none_or(|running| running.members != members) {
            self.rebuild(jobs, members)?;
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        for group in 0..running.optimizer.groups() {
            running.optimizer.set_lr(group, jobs[0].lr)?;
        }
        let mut encoder = self.handles.device.create_command_encoder(&Default::default());
        for (member, places) in running.members.iter().zip(places) {
            let size = 4 * member.len as u64;
            let (from, to) = (&places.grad, &running.grads);
            encoder.copy_buffer_to_buffer(from.buffer(), from.offset(), to, member.grad_offset, size);
        }
        running.optimizer.step(&mut encoder)?;
        self.handles.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn rebuild(&mut self, jobs: &[Job], members: Vec<Member>) -> Result<(), Error> {
        let size = members.last().map_or(4, |last| last.grad_offset + 4 * last.len as u64);
        let grads = self.handles.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut builder = Optimizer::builder();
        for (index, group) in self.config.groups.iter().enumerate() {
            let params = members.iter().zip(jobs).filter(|(member, _)| member.group == index);
            let params: Vec<_> = params
                .map(|(member, job)| {
                    Param::new(format!("{} {}", job.path, job.id), member.len)
                        .buffers(&member.buffer, &grads)
                        .offsets(member.offset, member.grad_offset)
                })
                .collect();
            builder = builder.group(group.rule.boxed(), params);
        }
        let optimizer = builder.build(&self.handles.device, &self.handles.queue)?;
        if self.running.is_some() {
            eprintln!("REBUILT");
        }
        self.running = Some(Running { optimizer, members, grads });
        Ok(())
    }
}

fn members(jobs: &[Job], places: &[Places]) -> Vec<Member> {
    let mut next = 0;
    let member = |(job, places): (&Job, &Places)| {
        let grad_offset = next;
        next += (4 * job.len() as u64).next_multiple_of(16);
        Member {
            id: job.id,
            buffer: places.param.buffer().clone(),
            offset: places.param.offset(),
            len: job.len(),
            group: job.group,
            grad_offset,
        }
    };
    jobs.iter().zip(places).map(member).collect()
}
