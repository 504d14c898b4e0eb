//! The problem: Rosenbrock's function, (1 − x)² + 100·(y − x²)², of many pairs (x, y) at once.

/// Starting points in [−1.5, 1.5]², evenly distributed and the same in every run.
pub fn start(pairs: usize) -> Vec<f32> {
    // Multiples of the plastic number's powers: a low-discrepancy sequence (Roberts 2018).
    let spread = |k: usize, step: f64| (3.0 * ((k as f64 * step) % 1.0) - 1.5) as f32;
    (1..=pairs).flat_map(|k| [spread(k, 0.754_877_666), spread(k, 0.569_840_291)]).collect()
}

/// The mean over the pairs.
pub fn loss(points: &[f32]) -> f64 {
    let pairs = points.as_chunks::<2>().0;
    let one = |[x, y]: [f64; 2]| (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
    pairs.iter().map(|pair| one(pair.map(f64::from))).sum::<f64>() / pairs.len() as f64
}

/// The gradient of each pair's term.
pub fn gradient(points: &[f32]) -> Vec<f32> {
    let one = |&[x, y]: &[f32; 2]| {
        let off = y - x * x;
        [-2.0 * (1.0 - x) - 400.0 * x * off, 200.0 * off]
    };
    points.as_chunks::<2>().0.iter().flat_map(one).collect()
}
