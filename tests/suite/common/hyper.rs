//! Hyperparameters as a library's run names them.

use serde_json::{Map, Value};

/// Hyperparameters to be taken out one by one; what is left over was not understood.
#[derive(Debug)]
pub struct Hyper(Map<String, Value>);

impl Hyper {
    pub fn of(all: &Map<String, Value>) -> Self {
        Self(all.clone())
    }

    /// The learning rate, which every run names.
    pub fn lr(&mut self) -> f64 {
        self.number("lr", f64::NAN)
    }

    pub fn number(&mut self, name: &str, default: f64) -> f64 {
        self.0.remove(name).map_or(default, |value| value.as_f64().expect("a number"))
    }

    pub fn flag(&mut self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    pub fn flag_or(&mut self, name: &str, default: bool) -> bool {
        self.0.remove(name).map_or(default, |value| value.as_bool().expect("a flag"))
    }

    /// β1 and β2, by PyTorch's name or optax's.
    pub fn betas(&mut self, default: (f64, f64)) -> (f64, f64) {
        if let (Some(b1), Some(b2)) = (self.0.remove("b1"), self.0.remove("b2")) {
            return (b1.as_f64().expect("β1"), b2.as_f64().expect("β2"));
        }
        let Some(betas) = self.0.remove("betas") else { return default };
        (betas[0].as_f64().expect("β1"), betas[1].as_f64().expect("β2"))
    }

    /// β1, β2 and β3.
    pub fn three_betas(&mut self, default: (f64, f64, f64)) -> (f64, f64, f64) {
        let Some(betas) = self.0.remove("betas") else { return default };
        let [first, second, third] =
            serde_json::from_value::<[f64; 3]>(betas).expect("three numbers");
        (first, second, third)
    }

    /// Panics if something was not taken.
    pub fn all_taken(self, case: &str) {
        assert!(self.0.is_empty(), "{case}: not understood: {:?}", self.0);
    }
}
