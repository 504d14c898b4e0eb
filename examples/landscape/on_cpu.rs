//! A descent on the CPU, for machines without a GPU driver.

use crate::descent::{Descent, NEAR, Outcome};
use std::time::Instant;
use wgpu_optim::{CpuOptimizer, Error};

pub fn run(descent: &Descent<'_>) -> Result<Outcome, Error> {
    let count = descent.starts.len();
    let mut optimizer =
        CpuOptimizer::<f32>::builder().group(descent.rule.boxed(), [("xy", [count, 2])]).build()?;
    optimizer.set_param("xy", descent.starts.as_flattened())?;

    let mut positions = descent.starts.to_vec();
    let mut gradients = vec![[0.0; 2]; count];
    let mut history = Vec::new();
    let mut arrivals = vec![None; count];
    let begin = Instant::now();
    for step in 0..=descent.steps {
        history.extend_from_slice(&positions[..descent.recorded_starts()]);
        note_arrivals(descent, &positions, step, &mut arrivals);
        if step < descent.steps {
            for (gradient, position) in gradients.iter_mut().zip(&positions) {
                let exact = descent.function.gradient(position.map(f64::from));
                *gradient = exact.map(|slope| slope as f32);
            }
            optimizer.set_grad("xy", gradients.as_flattened())?;
            optimizer.par_step()?;
            let moved = positions.as_flattened_mut().iter_mut().zip(optimizer.param("xy")?);
            moved.for_each(|(position, x)| *position = x);
        }
    }
    Ok(Outcome {
        history,
        recorded_starts: descent.recorded_starts(),
        arrivals,
        elapsed: begin.elapsed(),
    })
}

fn note_arrivals(
    descent: &Descent<'_>,
    positions: &[[f32; 2]],
    step: usize,
    arrivals: &mut [Option<usize>],
) {
    let minimum = descent.function.minimum();
    for (arrival, position) in arrivals.iter_mut().zip(positions) {
        let [x, y] = position.map(f64::from);
        if arrival.is_none() && (x - minimum[0]).hypot(y - minimum[1]) < NEAR {
            *arrival = Some(step);
        }
    }
}
