//! A second implementation, straight from the papers, one loop a rule, in f64. It shares nothing
//! with the crate's rules: no coefficients computed ahead, no state kept in structs, none of its
//! code.

use crate::common::random::Random;
use wgpu_optim::{
    ADOPT, ASGD, AdEMAMix, AdaBelief, Adadelta, Adagrad, Adam, AdamW, Adamax, Adan, CpuOptimizer,
    DynRule, LAMB, LARS, LaProp, Lion, MARS, NAdam, RAdam, RMSprop, Rprop, SGD, ScheduleFreeAdamW,
    ScheduleFreeRAdam, ScheduleFreeSGD,
};

const STEPS: usize = 25;
const LEN: usize = 64;

/// Two roads to one number, each rounding a few dozen times on the way.
const TOLERANCE: f64 = 1e-12;

/// The gradients g₁ … g_T of each element.
fn gradients() -> Vec<Vec<f64>> {
    let mut random = Random::new(21);
    (0..LEN)
        .map(|_| random.wide_vec(STEPS, -3.0, 2.0).into_iter().map(f64::from).collect())
        .collect()
}

fn start(element: usize) -> f64 {
    (element as f64 - 30.0) / 10.0
}

/// Holds the crate's rule to a function from θ₀ and g₁ … g_T to θ_T.
fn compare(rule: impl Into<Box<dyn DynRule>>, paper: impl Fn(f64, &[f64]) -> f64) {
    let rule = rule.into();
    let label = format!("{rule:?}");
    let gradients = gradients();
    let mut cpu = CpuOptimizer::<f64>::builder().group(rule, [("p", LEN)]).build().expect("built");
    cpu.set_param("p", &(0..LEN).map(start).collect::<Vec<_>>()).expect("set");
    for t in 0..STEPS {
        let grad: Vec<_> = gradients.iter().map(|g| g[t]).collect();
        cpu.set_grad("p", &grad).expect("set");
        cpu.step().expect("stepped");
    }
    for (i, &found) in cpu.param("p").expect("there").iter().enumerate() {
        let expected = paper(start(i), &gradients[i]);
        let off = (found - expected).abs() / expected.abs().max(1.0);
        assert!(off <= TOLERANCE, "{label}, element {i}: {found} for {expected}");
    }
}

/// Kingma and Ba 2015, Algorithm 1; ε outside the root.
#[test]
fn adam() {
    let (alpha, beta1, beta2, epsilon) = (0.02, 0.85, 0.97, 1e-6);
    let rule = Adam { lr: alpha, betas: (beta1, beta2), eps: epsilon, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        // The moments as the weighted sums that the paper's equation 3 unrolls them to.
        for t in 1..=gradients.len() {
            let sum = |beta: f64, power: i32| -> f64 {
                let terms = gradients[..t]
                    .iter()
                    .enumerate()
                    .map(|(i, g)| (1.0 - beta) * beta.powi((t - 1 - i) as i32) * g.powi(power));
                terms.sum::<f64>() / (1.0 - beta.powi(t as i32))
            };
            theta -= alpha * sum(beta1, 1) / (sum(beta2, 2).sqrt() + epsilon);
        }
        theta
    });
}

/// Loshchilov and Hutter 2019, Algorithm 2, with the decay scaled by the learning rate as in
/// PyTorch.
#[test]
fn adamw() {
    let rule = AdamW { lr: 0.01, weight_decay: 0.3, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let (mut m, mut v) = (0.0, 0.0);
        for (t, g) in gradients.iter().enumerate() {
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let m_hat = m / (1.0 - 0.9f64.powi(t as i32 + 1));
            let v_hat = v / (1.0 - 0.999f64.powi(t as i32 + 1));
            theta = theta - 0.01 * 0.3 * theta - 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
        }
        theta
    });
}

/// Reddi, Kale and Kumar 2018, Algorithm 2, with PyTorch's bias corrections; coupled decay.
#[test]
fn amsgrad() {
    let rule = Adam { lr: 0.01, weight_decay: 0.1, amsgrad: true, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let (mut m, mut v, mut v_max) = (0.0, 0.0, 0.0f64);
        for (t, g) in gradients.iter().enumerate() {
            let g = g + 0.1 * theta;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            v_max = v_max.max(v);
            let m_hat = m / (1.0 - 0.9f64.powi(t as i32 + 1));
            let v_hat = v_max / (1.0 - 0.999f64.powi(t as i32 + 1));
            theta -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
        }
        theta
    });
}

/// optax's amsgrad: the maximum of the corrected moments.
#[test]
fn amsgrad_of_optax() {
    let rule = Adam { lr: 0.01, amsgrad: true, max_after_correction: true, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let (mut m, mut v, mut v_max) = (0.0, 0.0, 0.0f64);
        for (t, g) in gradients.iter().enumerate() {
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            v_max = v_max.max(v / (1.0 - 0.999f64.powi(t as i32 + 1)));
            let m_hat = m / (1.0 - 0.9f64.powi(t as i32 + 1));
            theta -= 0.01 * m_hat / (v_max.sqrt() + 1e-8);
        }
        theta
    });
}

/// TensorFlow 1's RMSprop: eps under the root, the mean square starts at 1, the learning rate
/// inside the momentum, here with a learning rate that halves after each step.
#[test]
fn rmsprop_of_tensorflow() {
    let rule = |lr| RMSprop {
        lr,
        alpha: 0.9,
        eps: 1e-4,
        momentum: 0.8,
        lr_in_momentum: true,
        initial_square_avg: 1.0,
        eps_in_sqrt: true,
        ..Default::default()
    };
    let gradients = [0.3, -1.5, 2.0, 0.7];
    let mut cpu =
        CpuOptimizer::<f64>::builder().group(rule(0.1), [("p", 1)]).build().expect("built");
    let (mut theta, mut mean_square, mut momentum, mut lr) = (0.0, 1.0, 0.0, 0.1);
    for g in gradients {
        cpu.set_lr(0, lr).expect("in range");
        cpu.set_grad("p", &[g]).expect("set");
        cpu.step().expect("stepped");
        mean_square = 0.9 * mean_square + (1.0 - 0.9) * g * g;
        momentum = 0.8 * momentum + lr * g / f64::sqrt(mean_square + 1e-4);
        theta -= momentum;
        lr /= 2.0;
        let found = cpu.param("p").expect("there")[0];
        assert!((found - theta).abs() <= TOLERANCE, "{found} for {theta}");
    }
}

/// optax's AdaGrad: the sum starts at 0.1, eps is under the root.
#[test]
fn adagrad_of_optax() {
    let rule = Adagrad {
        lr: 0.1,
        initial_accumulator_value: 0.1,
        eps: 1e-7,
        eps_in_sqrt: true,
        ..Default::default()
    };
    compare(rule, |theta, gradients| {
        let step = |t: usize| {
            let sum = 0.1 + gradients[..=t].iter().map(|g| g * g).sum::<f64>();
            0.1 * gradients[t] / (sum + 1e-7).sqrt()
        };
        theta - (0..gradients.len()).map(step).sum::<f64>()
    });
}

/// Duchi, Hazan and Singer 2011, the diagonal update: each step divides by the norm of the history.
#[test]
fn adagrad() {
    let rule = Adagrad { lr: 0.1, lr_decay: 0.05, ..Default::default() };
    compare(rule, |theta, gradients| {
        let step = |t: usize| {
            let norm = gradients[..=t].iter().map(|g| g * g).sum::<f64>().sqrt();
            0.1 / (1.0 + t as f64 * 0.05) * gradients[t] / (norm + 1e-10)
        };
        theta - (0..gradients.len()).map(step).sum::<f64>()
    });
}

/// Hinton 2012, lecture 6e, slide 29, here maximizing; and with momentum.
#[test]
fn rmsprop() {
    for momentum in [0.0, 0.8] {
        let rule = RMSprop { lr: 0.01, alpha: 0.9, momentum, maximize: true, ..Default::default() };
        compare(rule, |mut theta, gradients| {
            let (mut mean_square, mut velocity) = (0.0, 0.0);
            for g in gradients {
                mean_square = 0.9 * mean_square + 0.1 * g * g;
                velocity = momentum * velocity + g / (f64::sqrt(mean_square) + 1e-8);
                theta += 0.01 * velocity;
            }
            theta
        });
    }
}

/// Graves 2013, equations 38 to 41: n − g² is the variance of the gradients under the weights.
#[test]
fn centered_rmsprop() {
    let rule = RMSprop { lr: 0.01, alpha: 0.9, eps: 1e-4, centered: true, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        for t in 0..gradients.len() {
            let mean = |f: &dyn Fn(f64) -> f64| -> f64 {
                let weights = (0..=t).map(|i| 0.1 * 0.9f64.powi((t - i) as i32));
                weights.zip(gradients).map(|(w, &g)| w * f(g)).sum()
            };
            let variance = mean(&|g| g * g) - mean(&|g| g).powi(2);
            theta -= 0.01 * gradients[t] / (variance.sqrt() + 1e-4);
        }
        theta
    });
}

/// Plain gradient descent: the sum of the steps.
#[test]
fn sgd() {
    let rule = SGD { lr: 0.05, ..Default::default() };
    compare(rule, |theta, gradients| theta - 0.05 * gradients.iter().sum::<f64>());
}

/// Polyak 1964: each gradient acts on in a geometric series. The first is not dampened.
#[test]
fn momentum() {
    let (mu, dampening) = (0.9f64, 0.25);
    let rule = SGD { lr: 0.05, momentum: mu, dampening, ..Default::default() };
    compare(rule, |theta, gradients| {
        let last = gradients.len();
        let total = |(i, g): (usize, &f64)| {
            let taken = if i == 0 { 1.0 } else { 1.0 - dampening };
            taken * g * (1.0 - mu.powi((last - i) as i32)) / (1.0 - mu)
        };
        theta - 0.05 * gradients.iter().enumerate().map(total).sum::<f64>()
    });
}

/// Sutskever et al. 2013, equations 3 and 4, in the point where the gradient is taken.
#[test]
fn nesterov() {
    let (mu, lr) = (0.8, 0.05);
    let rule = SGD { lr, momentum: mu, nesterov: true, ..Default::default() };
    compare(rule, |theta, gradients| {
        // θ + μ·v is what PyTorch calls the parameter.
        let (mut position, mut velocity) = (theta, 0.0);
        for g in gradients {
            velocity = mu * velocity - lr * g;
            position += velocity;
        }
        position + mu * velocity
    });
}

/// Zeiler 2012, Algorithm 1.
#[test]
fn adadelta() {
    let rule = Adadelta { lr: 0.7, rho: 0.8, eps: 1e-4, ..Default::default() };
    compare(rule, |mut x, gradients| {
        let (mut mean_g2, mut mean_dx2) = (0.0, 0.0);
        let rms = |mean: f64| (mean + 1e-4).sqrt();
        for g in gradients {
            mean_g2 = 0.8 * mean_g2 + (1.0 - 0.8) * g * g;
            let dx = -(rms(mean_dx2) / rms(mean_g2)) * g;
            mean_dx2 = 0.8 * mean_dx2 + (1.0 - 0.8) * dx * dx;
            x += 0.7 * dx;
        }
        x
    });
}

/// Kingma and Ba 2015, Algorithm 2: the maximum over the history, each gradient decayed by its age.
#[test]
fn adamax() {
    let rule = Adamax { lr: 0.02, betas: (0.8, 0.9), eps: 1e-6, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let mut m = 0.0;
        for t in 0..gradients.len() {
            m = 0.8 * m + (1.0 - 0.8) * gradients[t];
            let aged = |i: usize| 0.9f64.powi((t - i) as i32) * (gradients[i].abs() + 1e-6);
            let u = (0..=t).map(aged).fold(0.0, f64::max);
            theta -= 0.02 / (1.0 - 0.8f64.powi(t as i32 + 1)) * m / u;
        }
        theta
    });
}

/// Dozat 2016, Algorithm 2, with the schedule of its section 2 and decoupled decay.
#[test]
fn nadamw() {
    let rule = NAdam {
        lr: 0.02,
        weight_decay: 0.1,
        momentum_decay: 0.05,
        decoupled_weight_decay: true,
        ..Default::default()
    };
    compare(rule, |mut theta, gradients| {
        let mu = |t: usize| 0.9 * (1.0 - 0.5 * 0.96f64.powf(0.05 * t as f64));
        let (mut m, mut n) = (0.0, 0.0);
        for (i, g) in gradients.iter().enumerate() {
            let t = i + 1;
            let product = |last: usize| (1..=last).map(mu).product::<f64>();
            m = 0.9 * m + (1.0 - 0.9) * g;
            n = 0.999 * n + (1.0 - 0.999) * g * g;
            let g_hat = g / (1.0 - product(t));
            let m_hat = m / (1.0 - product(t + 1));
            let n_hat = n / (1.0 - 0.999f64.powi(t as i32));
            let m_bar = (1.0 - mu(t)) * g_hat + mu(t + 1) * m_hat;
            theta -= 0.02 * 0.1 * theta;
            theta -= 0.02 * m_bar / (n_hat.sqrt() + 1e-8);
        }
        theta
    });
}

/// Liu et al. 2020, Algorithm 2. With β2 = 0.9 the variance is bounded from step 6 on.
#[test]
fn radam() {
    let rule = RAdam { lr: 0.02, betas: (0.8, 0.9), ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let (mut m, mut v) = (0.0, 0.0);
        let rho_inf = 2.0 / (1.0 - 0.9) - 1.0;
        for (i, g) in gradients.iter().enumerate() {
            let t = i as f64 + 1.0;
            m = 0.8 * m + (1.0 - 0.8) * g;
            v = 0.9 * v + (1.0 - 0.9) * g * g;
            let m_hat = m / (1.0 - 0.8f64.powf(t));
            let rho = rho_inf - 2.0 * t * 0.9f64.powf(t) / (1.0 - 0.9f64.powf(t));
            if rho > 5.0 {
                let l = (1.0 - 0.9f64.powf(t)).sqrt() / (f64::sqrt(v) + 1e-8);
                let r = ((rho - 4.0) * (rho - 2.0) * rho_inf
                    / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho))
                    .sqrt();
                theta -= 0.02 * m_hat * r * l;
            } else {
                theta -= 0.02 * m_hat;
            }
        }
        theta
    });
}

/// Riedmiller and Braun 1993, section 4, in the later variant that does not take a step back
/// (iRprop−, Igel and Hüsken 2000).
#[test]
fn rprop() {
    let rule = Rprop { lr: 0.1, ..Default::default() };
    compare(rule, |mut w, gradients| {
        let (mut delta, mut last) = (0.1f64, 0.0);
        for &g in gradients {
            let mut g = g;
            if last * g > 0.0 {
                delta = (delta * 1.2).min(50.0);
            } else if last * g < 0.0 {
                delta = (delta * 0.5).max(1e-6);
                g = 0.0;
            }
            if g > 0.0 {
                w -= delta;
            } else if g < 0.0 {
                w += delta;
            }
            last = g;
        }
        w
    });
}

/// Chen et al. 2023, Algorithm 2.
#[test]
fn lion() {
    let rule = Lion { lr: 0.01, weight_decay: 0.2, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let mut m = 0.0;
        for g in gradients {
            let c: f64 = 0.9 * m + (1.0 - 0.9) * g;
            let sign = if c > 0.0 {
                1.0
            } else if c < 0.0 {
                -1.0
            } else {
                0.0
            };
            theta -= 0.01 * (sign + 0.2 * theta);
            m = 0.99 * m + (1.0 - 0.99) * g;
        }
        theta
    });
}

/// Zhuang et al. 2020, Algorithm 2.
#[test]
fn adabelief() {
    let rule = AdaBelief { lr: 0.02, eps: 1e-8, eps_root: 1e-10, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let (mut m, mut s) = (0.0, 0.0);
        for (t, g) in gradients.iter().enumerate() {
            m = 0.9 * m + (1.0 - 0.9) * g;
            s = 0.999 * s + (1.0 - 0.999) * f64::powi(g - m, 2) + 1e-10;
            let m_hat = m / (1.0 - 0.9f64.powi(t as i32 + 1));
            let s_hat = s / (1.0 - 0.999f64.powi(t as i32 + 1));
            theta -= 0.02 * m_hat / (f64::sqrt(s_hat) + 1e-8);
        }
        theta
    });
}

/// Taniguchi et al. 2024, Algorithm 2 with the clipping of its section 5, by indices: step t uses
/// v_(t−1), and v_0 is the first gradient's square, which takes no step.
#[test]
fn adopt() {
    let rule = ADOPT { lr: 0.02, betas: (0.8, 0.97), ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let v = |last: usize| {
            let first = 0.97f64.powi(last as i32) * gradients[0].powi(2);
            let later = (1..=last)
                .map(|i| (1.0 - 0.97) * 0.97f64.powi((last - i) as i32) * gradients[i].powi(2));
            first + later.sum::<f64>()
        };
        let mut m = 0.0;
        for (t, g) in gradients.iter().enumerate().skip(1) {
            let bound = (t as f64).powf(0.25);
            let normalized = g / v(t - 1).sqrt().max(1e-6);
            m = 0.8 * m + (1.0 - 0.8) * normalized.clamp(-bound, bound);
            theta -= 0.02 * m;
        }
        theta
    });
}

/// Xie et al. 2022, Algorithm 1, with the paper's β, which are one minus the code's, and its
/// moments m, v and n with PyTorch's bias corrections.
#[test]
fn adan() {
    let rule = Adan { lr: 0.02, betas: (0.9, 0.8, 0.95), weight_decay: 0.3, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let (b1, b2, b3) = (0.1, 0.2, 0.05);
        let (mut m, mut v, mut n) = (0.0, 0.0, 0.0);
        for (k, g) in gradients.iter().enumerate() {
            let change = if k == 0 { 0.0 } else { g - gradients[k - 1] };
            m = (1.0 - b1) * m + b1 * g;
            v = (1.0 - b2) * v + b2 * change;
            n = (1.0 - b3) * n + b3 * f64::powi(g + (1.0 - b2) * change, 2);
            let corrected = |x: f64, b: f64| x / (1.0 - (1.0 - b).powi(k as i32 + 1));
            let eta = 0.02 / (corrected(n, b3).sqrt() + 1e-8);
            let step = eta * (corrected(m, b1) + (1.0 - b2) * corrected(v, b2));
            theta = (theta - step) / (1.0 + 0.3 * 0.02);
        }
        theta
    });
}

/// Ziyin, Wang and Ueda 2020, Algorithm 1; with a constant learning rate its bias correction of
/// the momentum is timm's quotient of learning rates. Decay after the step, as in timm.
#[test]
fn laprop() {
    let rule = LaProp { lr: 0.02, betas: (0.8, 0.95), weight_decay: 0.1, ..Default::default() };
    compare(rule, |mut theta, gradients| {
        let (mut n, mut m, mut c_n, mut c_m) = (0.0, 0.0, 0.0, 0.0);
        for g in gradients {
            n = 0.95 * n + (1.0 - 0.95) * g * g;
            c_n = 0.95 * c_n + (1.0 - 0.95);
            c_m = 0.8 * c_m + (1.0 - 0.8);
            m = 0.8 * m + (1.0 - 0.8) * g / (f64::sqrt(n / c_n) + 1e-15);
            theta -= 0.02 * m / c_m;
            theta -= 0.02 * 0.1 * theta;
        }
        theta
    });
}

/// With a learning rate of 0 nothing moves, whatever the mean holds of earlier ones; and the steps
/// after it are finite.
#[test]
fn laprop_stands_still_without_a_learning_rate() {
    for first_lr in [0.0, 0.1] {
        let rule = LaProp { lr: first_lr, ..Default::default() };
        let mut cpu =
            CpuOptimizer::<f64>::builder().group(rule, [("p", 1)]).build().expect("built");
        let mut step = |lr: f64| {
            cpu.set_lr(0, lr).expect("in range");
            cpu.set_grad("p", &[0.5]).expect("set");
            cpu.step().expect("stepped");
            cpu.param("p").expect("there")[0]
        };
        let first = step(first_lr);
        assert_eq!(first == 0.0, first_lr == 0.0);
        assert_eq!([step(0.0), step(0.0)], [first; 2]);
        let last = step(0.1);
        assert!(last.is_finite() && last < first, "{first} → {last}");
    }
}

/// Pagliardini, Ablin and Grangier 2024, Algorithm 1 with the schedules of its section 3: α linear,
/// and ln β3 a weighted harmonic mean. The code's 1e-8 in the logarithms is left out by moving the
/// betas.
#[test]
fn ademamix() {
    let (beta1, beta3, until) = (0.8, 0.97, 15.0);
    let rule = AdEMAMix {
        lr: 0.02,
        betas: (beta1 - 1e-8, 0.95, beta3 - 1e-8),
        alpha: 4.0,
        beta3_warmup: until,
        alpha_warmup: 10.0,
        weight_decay: 0.1,
        ..Default::default()
    };
    compare(rule, |mut theta, gradients| {
        let (mut m1, mut m2, mut nu) = (0.0, 0.0, 0.0);
        for (k, g) in gradients.iter().enumerate() {
            let t = k as f64 + 1.0;
            let alpha = f64::min(4.0 * t / 10.0, 4.0);
            let (l1, l3) = (f64::ln(beta1), f64::ln(beta3));
            let warming = (l1 * l3 / ((1.0 - t / until) * l3 + t / until * l1)).exp();
            let beta3 = if t < until { warming } else { beta3 - 1e-8 };
            let beta1 = beta1 - 1e-8;
            m1 = beta1 * m1 + (1.0 - beta1) * g;
            m2 = beta3 * m2 + (1.0 - beta3) * g;
            nu = 0.95 * nu + (1.0 - 0.95) * g * g;
            let m1_hat = m1 / (1.0 - beta1.powf(t));
            let nu_hat: f64 = nu / (1.0 - 0.95f64.powf(t));
            theta -= 0.02 * ((m1_hat + alpha * m2) / (nu_hat.sqrt() + 1e-8) + 0.1 * theta);
        }
        theta
    });
}

/// Bottou 2010, section 4.2, with PyTorch's powers: the step size and the average as functions of
/// the step's number alone.
#[test]
fn asgd() {
    let rule = ASGD { lr: 0.05, lambd: 0.2, alpha: 0.6, t0: 4.0, ..Default::default() };
    let eta = |k: usize| 0.05 / (1.0 + 0.2 * 0.05 * k as f64).powf(0.6);
    compare(rule, |mut theta, gradients| {
        for (k, g) in gradients.iter().enumerate() {
            theta = (1.0 - 0.2 * eta(k)) * theta - eta(k) * g;
        }
        theta
    });
}

/// From the step after t0 on, the average is the mean of what the parameter was: of a parameter
/// that falls by 1, the middle.
#[test]
fn asgd_averages() {
    let rule = ASGD { lr: 1.0, lambd: 0.0, t0: 3.0, ..Default::default() };
    let mut cpu = CpuOptimizer::<f64>::builder().group(rule, [("p", 1)]).build().expect("built");
    for step in 1..=20 {
        cpu.set_grad("p", &[1.0]).expect("set");
        cpu.step().expect("stepped");
        let found = cpu.state("p", "ax").expect("in use")[0];
        let first = f64::min(f64::from(step), 5.0);
        let expected = -(first + f64::from(step)) / 2.0;
        assert!((found - expected).abs() < TOLERANCE, "step {step}: {found} for {expected}");
    }
}

/// As in PyTorch, whose step size is computed at the end of the step before.
#[test]
fn asgd_takes_a_new_learning_rate_one_step_late() {
    let rule = ASGD { lr: 1.0, lambd: 0.0, ..Default::default() };
    let mut cpu = CpuOptimizer::<f64>::builder().group(rule, [("p", 1)]).build().expect("built");
    let way = [0.5, 0.25, 0.125].map(|lr| {
        cpu.set_lr(0, lr).expect("in range");
        cpu.set_grad("p", &[-1.0]).expect("set");
        cpu.step().expect("stepped");
        cpu.param("p").expect("there")[0]
    });
    assert_eq!(way, [0.5, 1.0, 1.25]);
}

/// γ_t of the Schedule-Free tests, counted from 0: it warms up over five steps.
fn warmed(t: usize) -> f64 {
    0.05 * f64::min((t + 1) as f64 / 5.0, 1.0)
}

/// x of Defazio et al. 2024, equation 5: the mean of z_1, z_2, … by the squares of the largest
/// learning rates so far.
fn weighted_mean(z: &[f64], gamma: impl Fn(usize) -> f64) -> f64 {
    let largest = |t: usize| (0..=t).map(&gamma).fold(0.0, f64::max);
    let weights: Vec<_> = (0..z.len()).map(|t| largest(t).powi(2)).collect();
    weights.iter().zip(z).map(|(w, z)| w * z).sum::<f64>() / weights.iter().sum::<f64>()
}

/// Defazio et al. 2024, equations 3 to 5.
#[test]
fn schedule_free_sgd() {
    let rule = ScheduleFreeSGD {
        lr: 0.05,
        momentum: 0.8,
        weight_decay: 0.1,
        warmup_steps: 5.0,
        ..Default::default()
    };
    compare(rule, |theta, gradients| {
        let (mut y, mut z, mut all_z) = (theta, theta, Vec::new());
        for (t, g) in gradients.iter().enumerate() {
            z -= warmed(t) * (g + 0.1 * y);
            all_z.push(z);
            y = (1.0 - 0.8) * z + 0.8 * weighted_mean(&all_z, warmed);
        }
        y
    });
}

/// Defazio et al. 2024, Algorithm 1.
#[test]
fn schedule_free_adamw() {
    let rule = ScheduleFreeAdamW {
        lr: 0.05,
        betas: (0.8, 0.95),
        weight_decay: 0.1,
        warmup_steps: 5.0,
        ..Default::default()
    };
    compare(rule, |theta, gradients| {
        let (mut y, mut z, mut all_z, mut v) = (theta, theta, Vec::new(), 0.0);
        for (t, g) in gradients.iter().enumerate() {
            v = 0.95 * v + (1.0 - 0.95) * g * g;
            let v_hat: f64 = v / (1.0 - 0.95f64.powi(t as i32 + 1));
            z -= warmed(t) * (g / (v_hat.sqrt() + 1e-8) + 0.1 * y);
            all_z.push(z);
            y = (1.0 - 0.8) * z + 0.8 * weighted_mean(&all_z, warmed);
        }
        y
    });
}

/// The same with Liu et al.'s rectification from where its length is above 4, and plain gradients
/// before.
#[test]
fn schedule_free_radam() {
    let rule = ScheduleFreeRAdam {
        lr: 0.05,
        betas: (0.8, 0.9),
        silent_sgd_phase: false,
        ..Default::default()
    };
    let length = |t: usize| {
        let (t, power) = (t as f64 + 1.0, 0.9f64.powi(t as i32 + 1));
        19.0 - 2.0 * t * power / (1.0 - power)
    };
    let gamma = |t: usize| {
        let rho = length(t);
        let factor = (rho - 4.0) * (rho - 2.0) * 19.0 / ((19.0 - 4.0) * (19.0 - 2.0) * rho);
        if rho > 4.0 { 0.05 * factor.sqrt() } else { 0.05 }
    };
    compare(rule, |theta, gradients| {
        let (mut y, mut z, mut all_z, mut v) = (theta, theta, Vec::new(), 0.0);
        for (t, g) in gradients.iter().enumerate() {
            v = 0.9 * v + (1.0 - 0.9) * g * g;
            let v_hat: f64 = v / (1.0 - 0.9f64.powi(t as i32 + 1));
            let divisor = if length(t) > 4.0 { v_hat.sqrt() + 1e-8 } else { 1.0 };
            z -= gamma(t) * g / divisor;
            all_z.push(z);
            y = (1.0 - 0.8) * z + 0.8 * weighted_mean(&all_z, gamma);
        }
        y
    });
    assert!(length(0) < 4.0 && length(STEPS - 1) > 4.0);
}

/// A tensor's norm, added up in f64.
fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Holds a rule with trust ratios to a function of whole tensors, each of its own length.
fn compare_tensors(
    rule: impl Into<Box<dyn DynRule>>,
    paper: impl Fn(Vec<f64>, &[Vec<f64>]) -> Vec<f64>,
) {
    let lens = [1, 7, 300];
    let params = lens.map(|len| (len.to_string(), len));
    let mut cpu = CpuOptimizer::<f64>::builder().group(rule, params).build().expect("built");
    let mut random = Random::new(23);
    let mut vector =
        |len| random.wide_vec(len, -2.0, 1.0).into_iter().map(f64::from).collect::<Vec<_>>();
    let starts = lens.map(&mut vector);
    let gradients = lens.map(|len| (0..STEPS).map(|_| vector(len)).collect::<Vec<_>>());
    for (len, start) in lens.iter().zip(&starts) {
        cpu.set_param(len.to_string(), start).expect("set");
    }
    for t in 0..STEPS {
        for (len, gradients) in lens.iter().zip(&gradients) {
            cpu.set_grad(len.to_string(), &gradients[t]).expect("set");
        }
        cpu.step().expect("stepped");
    }
    for ((len, start), gradients) in lens.iter().zip(starts).zip(&gradients) {
        let found = cpu.param(len.to_string()).expect("there");
        for (found, expected) in found.iter().zip(paper(start, gradients)) {
            let off = (found - expected).abs() / expected.abs().max(1.0);
            assert!(off <= TOLERANCE, "length {len}: {found} for {expected}");
        }
    }
}

/// You et al. 2020, Algorithm 2, with φ the identity.
#[test]
fn lamb() {
    let rule = LAMB { lr: 0.02, weight_decay: 0.1, ..Default::default() };
    compare_tensors(rule, |mut x, gradients| {
        let (mut m, mut v) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for (t, g) in gradients.iter().enumerate() {
            let mut u = Vec::new();
            for i in 0..x.len() {
                m[i] = 0.9 * m[i] + (1.0 - 0.9) * g[i];
                v[i] = 0.999 * v[i] + (1.0 - 0.999) * g[i] * g[i];
                let m_hat = m[i] / (1.0 - 0.9f64.powi(t as i32 + 1));
                let v_hat = v[i] / (1.0 - 0.999f64.powi(t as i32 + 1));
                u.push(m_hat / (f64::sqrt(v_hat) + 1e-6) + 0.1 * x[i]);
            }
            let (nx, nu) = (norm(&x), norm(&u));
            let ratio = if nx == 0.0 || nu == 0.0 { 1.0 } else { nx / nu };
            x.iter_mut().zip(u).for_each(|(x, u)| *x -= 0.02 * ratio * u);
        }
        x
    });
}

/// You, Gitman and Ginsburg 2017, Algorithm 1, with decay in the norm's argument as in optax.
#[test]
fn lars() {
    let rule = LARS { lr: 5.0, weight_decay: 0.1, trust_coefficient: 0.01, ..Default::default() };
    compare_tensors(rule, |mut w, gradients| {
        let mut velocity = vec![0.0; w.len()];
        for g in gradients {
            let u: Vec<_> = g.iter().zip(&w).map(|(g, w)| g + 0.1 * w).collect();
            let (nw, nu) = (norm(&w), norm(&u));
            let local = if nw == 0.0 || nu == 0.0 { 1.0 } else { 0.01 * nw / nu };
            for i in 0..w.len() {
                velocity[i] = 0.9 * velocity[i] + 5.0 * local * u[i];
                w[i] -= velocity[i];
            }
        }
        w
    });
}

/// Yuan et al. 2024, Algorithm 2: the correction by the change of gradients, clipped by its norm.
#[test]
fn mars() {
    let rule = MARS { lr: 0.02, gamma: 0.1, weight_decay: 0.2, ..Default::default() };
    compare_tensors(rule, |mut x, gradients| {
        let (mut m, mut v) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let mut last = vec![0.0; x.len()];
        for (t, g) in gradients.iter().enumerate() {
            let change = g.iter().zip(&last).map(|(g, last)| g - last);
            let change = change.map(|change| 0.1 * (0.95 / (1.0 - 0.95)) * change);
            let c: Vec<_> = change.zip(g).map(|(change, g)| g + change).collect();
            let length = norm(&c).max(1.0);
            for i in 0..x.len() {
                let c = c[i] / length;
                m[i] = 0.95 * m[i] + (1.0 - 0.95) * c;
                v[i] = 0.99 * v[i] + (1.0 - 0.99) * c * c;
                let m_hat = m[i] / (1.0 - 0.95f64.powi(t as i32 + 1));
                let v_hat = v[i] / (1.0 - 0.99f64.powi(t as i32 + 1));
                x[i] -= 0.02 * (m_hat / (f64::sqrt(v_hat) + 1e-8) + 0.2 * x[i]);
            }
            last.clone_from(g);
        }
        x
    });
}
