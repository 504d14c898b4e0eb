//! Burn's configs of optimizers, turned into ours.

use crate::config::FusedConfig;
use crate::error::Error;
use crate::optimizer::FusedOptimizer;
use burn::config::Config;
use burn::grad_clipping::GradientClippingConfig;
use burn::optim::{
    AdaGradConfig, AdamConfig, AdamWConfig, AdanConfig, LambConfig, LionConfig, RmsPropConfig,
    SgdConfig,
};
use serde_json::Value;
use wgpu_optim::rules::{Adagrad, Adam, AdamW, Adan, LAMB, Lion, RMSprop, SGD};
use wgpu_optim::{Decay, DecayKind, DynRule, Modifiers};

/// Burn's configs of optimizers, fused: `AdamConfig::new().init_fused()` instead of
/// `AdamConfig::new().init()`.
///
/// Hyperparameters, weight decay and gradient clipping are those of the config. Clipping is by
/// tensor, as in Burn.
///
/// ```
/// use burn::optim::AdamConfig;
/// use wgpu_optim_burn::Fuse;
///
/// let optimizer = AdamConfig::new().with_beta_1(0.8).init_fused();
/// ```
pub trait Fuse: Config {
    /// The same rule of ours.
    ///
    /// # Errors
    /// The config has a setting that ours do not support, which the error names.
    fn try_fused(&self) -> Result<FusedConfig, Error>;

    /// As [`Self::try_fused`], to be changed further.
    ///
    /// # Panics
    /// The config has a setting that ours do not support.
    fn fused(&self) -> FusedConfig {
        self.try_fused().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The optimizer.
    ///
    /// # Panics
    /// The config has a setting that ours do not support.
    fn init_fused(&self) -> FusedOptimizer {
        self.fused().init()
    }
}

/// A config's fields, which are private in Burn but written to its files.
struct Fields {
    config: &'static str,
    json: Value,
}

impl Fields {
    fn of(config: &impl Config, name: &'static str) -> Result<Self, Error> {
        // Numbers become f64 by way of f32: what Burn computes with.
        let json = serde_json::to_value(config);
        json.map(|json| Self { config: name, json }).map_err(|error| Error::Config {
            config: name,
            problem: format!("cannot be read: {error}"),
        })
    }

    fn field(&self, name: &str) -> Result<&Value, Error> {
        self.json
            .get(name)
            .ok_or_else(|| self.refuse(format!("has no field `{name}` in this version of Burn")))
    }

    fn number(&self, name: &str) -> Result<f64, Error> {
        let number = self.field(name)?.as_f64();
        number.ok_or_else(|| self.refuse(format!("`{name}` is not a number")))
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        let flag = self.field(name)?.as_bool();
        flag.ok_or_else(|| self.refuse(format!("`{name}` is not true or false")))
    }

    fn betas(&self) -> Result<(f64, f64), Error> {
        Ok((self.number("beta_1")?, self.number("beta_2")?))
    }

    /// The penalty of an optional weight decay.
    fn penalty(&self) -> Result<f64, Error> {
        Ok(self.field("weight_decay")?.get("penalty").and_then(Value::as_f64).unwrap_or(0.0))
    }

    /// The rule with the clipping of the config's field of this name.
    fn with(self, rule: impl Into<Box<dyn DynRule>>, clipping: &str) -> Result<FusedConfig, Error> {
        let config = FusedConfig::new(rule);
        let clipping =
            serde_json::from_value::<Option<GradientClippingConfig>>(self.field(clipping)?.clone());
        match clipping {
            Ok(Some(clipping)) => Ok(config.with_grad_clipping(&clipping)),
            Ok(None) => Ok(config),
            Err(error) => {
                Err(self.refuse(format!("its gradient clipping cannot be read: {error}")))
            }
        }
    }

    fn refuse(&self, problem: String) -> Error {
        Error::Config { config: self.config, problem }
    }
}

const CLIPPING: &str = "grad_clipping";

impl Fuse for AdamConfig {
    fn try_fused(&self) -> Result<FusedConfig, Error> {
        let fields = Fields::of(self, "AdamConfig")?;
        let rule = Adam {
            betas: fields.betas()?,
            eps: fields.number("epsilon")?,
            amsgrad: fields.flag("amsgrad")?,
            weight_decay: fields.penalty()?,
            ..Default::default()
        };
        fields.with(rule, CLIPPING)
    }
}

impl Fuse for AdamWConfig {
    fn try_fused(&self) -> Result<FusedConfig, Error> {
        let fields = Fields::of(self, "AdamWConfig")?;
        let weight_decay = fields.number("weight_decay")?;
        let rule = AdamW {
            betas: fields.betas()?,
            eps: fields.number("epsilon")?,
            amsgrad: fields.flag("amsgrad")?,
            weight_decay,
            ..Default::default()
        };
        if !fields.flag("cautious_weight_decay")? {
            return fields.with(rule, CLIPPING);
        }
        // Where the first moment and the parameter have the same sign. Burn leaves a negative
        // parameter alone whose first moment is 0, and this decays it.
        let decay = Decay::new(DecayKind::Decoupled, weight_decay).cautious();
        let modifiers = Modifiers { decay: Some(decay), ..Default::default() };
        fields.with(modifiers.on(AdamW { weight_decay: 0.0, ..rule }), CLIPPING)
    }
}

impl Fuse for RmsPropConfig {
    fn try_fused(&self) -> Result<FusedConfig, Error> {
        let fields = Fields::of(self, "RmsPropConfig")?;
        let rule = RMSprop {
            alpha: fields.number("alpha")?,
            momentum: fields.number("momentum")?,
            eps: fields.number("epsilon")?,
            centered: fields.flag("centered")?,
            weight_decay: fields.penalty()?,
            ..Default::default()
        };
        fields.with(rule, CLIPPING)
    }
}

impl Fuse for AdaGradConfig {
    fn try_fused(&self) -> Result<FusedConfig, Error> {
        let fields = Fields::of(self, "AdaGradConfig")?;
        let rule = Adagrad {
            lr_decay: fields.number("lr_decay")?,
            eps: fields.number("epsilon")?,
            weight_decay: fields.penalty()?,
            ..Default::default()
        };
        fields.with(rule, CLIPPING)
    }
}

impl Fuse for SgdConfig {
    fn try_fused(&self) -> Result<FusedConfig, Error> {
        let fields = Fields::of(self, "SgdConfig")?;
        let momentum = fields.field("momentum")?;
        let number = |name| momentum.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        let rule = SGD {
            momentum: number("momentum"),
            dampening: number("dampening"),
            nesterov: momentum.get("nesterov").and_then(Value::as_bool).unwrap_or(false),
            weight_decay: fields.penalty()?,
            ..Default::default()
        };
        if rule.nesterov && rule.dampening != 0.0 {
            let problem = "Nesterov momentum needs `dampening` 0. Set it, or keep Burn's `init()`";
            return Err(fields.refuse(problem.to_owned()));
        }
        fields.with(rule, "gradient_clipping")
    }
}

impl Fuse for LionConfig {
    fn try_fused(&self) -> Result<FusedConfig, Error> {
        let fields = Fields::of(self, "LionConfig")?;
        let rule = Lion {
            betas: fields.betas()?,
            weight_decay: fields.number("weight_decay")?,
            ..Default::default()
        };
        fields.with(rule, CLIPPING)
    }
}

impl Fuse for LambConfig {
    fn try_fused(&self) -> Result<FusedConfig, Error> {
        let fields = Fields::of(self, "LambConfig")?;
        let (betas, eps) = (fields.betas()?, fields.number("epsilon")?);
        let weight_decay = fields.number("weight_decay")?;
        if fields.flag("use_trust_ratio")? {
            fields.with(LAMB { betas, eps, weight_decay, ..Default::default() }, CLIPPING)
        } else {
            // Its direction, weight decay included, times the learning rate is a step of AdamW.
            fields.with(AdamW { betas, eps, weight_decay, ..Default::default() }, CLIPPING)
        }
    }
}

impl Fuse for AdanConfig {
    fn try_fused(&self) -> Result<FusedConfig, Error> {
        let fields = Fields::of(self, "AdanConfig")?;
        let (beta1, beta2) = fields.betas()?;
        let rule = Adan {
            betas: (beta1, beta2, fields.number("beta_3")?),
            eps: fields.number("epsilon")?,
            weight_decay: fields.number("weight_decay")?,
            no_prox: fields.flag("no_prox")?,
            ..Default::default()
        };
        fields.with(rule, CLIPPING)
    }
}
