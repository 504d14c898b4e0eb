//! A rule's coefficients as a program: the operations that depend on the step, in order, as plain
//! data.
//!
//! Where steps may be skipped, only the GPU knows how many were taken, and computes what depends on
//! it: it replays the program that [`Rule::coeffs`](crate::Rule::coeffs) records when it is called
//! with `Traced` numbers. `shaders/passes/program.wgsl` is its interpreter.

use crate::error::Error;
use crate::rule::number::{Number, Step};
use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Sub};

/// The most instructions of a program; the interpreter has as many registers. A power with an
/// exponent of many digits takes fifty, and Schedule-Free rules have two.
pub const MAX_INSTRUCTIONS: usize = 160;

/// The most numbers that a group keeps from step to step.
pub const MAX_SCALARS: usize = 4;

/// The most numbers that a program starts from: a group's scalars, or what a decision knows.
pub const MAX_INPUTS: usize = 8;

/// The most coefficients that a rule may have where steps may be skipped, with those of what
/// happens around every rule.
pub const MAX_OUTPUTS: usize = 64;

/// What an instruction does; its result goes to the register of its own index. The numbers are
/// those of `program.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Operation {
    /// The f64 whose low and high word follow.
    Constant = 0,
    /// The step.
    Step = 1,
    /// A number that the program starts from, such as a scalar of the group.
    Input = 2,
    /// a + b
    Add = 3,
    /// a − b
    Subtract = 4,
    /// a · b
    Multiply = 5,
    /// a / b
    Divide = 6,
    /// √a
    SquareRoot = 7,
    /// a to the power of the step
    Power = 8,
    /// 1 where a > b, otherwise 0
    Above = 9,
    /// b where a is not 0, otherwise c
    Select = 10,
}

/// An instruction: its [`Operation`] and up to three operands, as the interpreter reads it.
pub type Instruction = [u32; 4];

/// What a rule computes of a step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    /// In order; each may use the results of those before it.
    pub instructions: Vec<Instruction>,
    /// The values of the coefficients; 0 for those that are computed.
    pub constants: Vec<f64>,
    /// The coefficients that are computed, and the registers that hold them.
    pub outputs: Vec<[u32; 2]>,
    /// The registers that hold the group's scalars after the step.
    pub scalars: Vec<u32>,
}

impl Program {
    /// Forgets all, to be recorded anew: a tape, which takes the memory of the old instructions.
    pub(crate) fn restart(&mut self) -> Tape {
        self.constants.clear();
        self.outputs.clear();
        self.scalars.clear();
        self.instructions.clear();
        self.resume()
    }

    /// Goes on with a recording that was ended.
    pub(crate) fn resume(&mut self) -> Tape {
        Tape(RefCell::new(std::mem::take(&mut self.instructions)))
    }

    /// Appends a coefficient.
    pub(crate) fn coeff(&mut self, coeff: Traced<'_>) {
        let (value, register) = match coeff {
            Traced::Known(value) => (value, None),
            Traced::Register(_, register) => (0.0, Some(register)),
        };
        let index = self.constants.len() as u32;
        self.outputs.extend(register.map(|register| [index, register]));
        self.constants.push(value);
    }

    /// Appends a scalar, as it is after the step.
    pub(crate) fn scalar(&mut self, tape: &Tape, scalar: Traced<'_>) {
        self.scalars.push(tape.register(scalar));
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// The program is longer than the interpreter can hold.
    pub(crate) fn finish(&mut self, rule: &str, tape: Tape) -> Result<(), Error> {
        self.instructions = tape.0.into_inner();
        self.check(rule)
    }

    /// Refuses what the interpreter cannot hold.
    fn check(&self, rule: &str) -> Result<(), Error> {
        let held = [
            (self.instructions.len(), MAX_INSTRUCTIONS, "operations that depend on the step"),
            (self.scalars.len(), MAX_SCALARS, "scalars"),
            (
                self.constants.len(),
                MAX_OUTPUTS,
                "coefficients, with the four of `Before` and `After` and those of modifiers",
            ),
        ];
        match held.into_iter().find(|(found, most, _)| found > most) {
            Some((found, most, what)) => Err(Error::rule(
                rule,
                format!("it has {found} {what}, but at most {most} fit a step that may be skipped"),
            )),
            None => Ok(()),
        }
    }
}

/// Where a program is recorded.
#[derive(Debug)]
pub(crate) struct Tape(RefCell<Vec<Instruction>>);

impl Tape {
    /// The step, to compute with.
    pub fn step(&self) -> Step<Traced<'_>> {
        Step::new(self.push(Operation::Step, [0; 3]))
    }

    /// A number that the program starts from, to compute with.
    pub fn input(&self, index: usize) -> Traced<'_> {
        self.push(Operation::Input, [index as u32, 0, 0])
    }

    /// Appends an instruction, or finds the same one.
    fn push(&self, operation: Operation, [a, b, c]: [u32; 3]) -> Traced<'_> {
        let instruction = [operation as u32, a, b, c];
        let mut instructions = self.0.borrow_mut();
        let known = instructions.iter().position(|known| *known == instruction);
        let register = known.unwrap_or_else(|| {
            instructions.push(instruction);
            instructions.len() - 1
        });
        Traced::Register(self, register as u32)
    }

    /// The register that holds a number.
    fn register(&self, number: Traced<'_>) -> u32 {
        let bits = match number {
            Traced::Register(_, register) => return register,
            Traced::Known(value) => value.to_bits(),
        };
        let constant = self.push(Operation::Constant, [bits as u32, (bits >> 32) as u32, 0]);
        self.register(constant)
    }
}

/// A number that is known when it is recorded, or the result of a recorded instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Traced<'t> {
    Known(f64),
    Register(&'t Tape, u32),
}

impl<'t> Traced<'t> {
    /// Records an operation of two numbers, or computes it if both are known.
    fn with(self, other: Self, operation: Operation, known: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => Self::Known(known(a, b)),
            (Self::Register(tape, _), _) | (_, Self::Register(tape, _)) => {
                tape.push(operation, [tape.register(self), tape.register(other), 0])
            }
        }
    }
}

impl From<f64> for Traced<'_> {
    fn from(value: f64) -> Self {
        Self::Known(value)
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $operation:ident) => {
        impl $trait for Traced<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.with(other, Operation::$operation, $trait::$method)
            }
        }
    };
}
operator!(Add, add, Add);
operator!(Sub, sub, Subtract);
operator!(Mul, mul, Multiply);
operator!(Div, div, Divide);

impl Number for Traced<'_> {
    fn sqrt(self) -> Self {
        match self {
            Self::Known(x) => Self::Known(x.sqrt()),
            Self::Register(tape, x) => tape.push(Operation::SquareRoot, [x, 0, 0]),
        }
    }
    fn if_above(self, limit: Self, yes: Self, no: Self) -> Self {
        let above = |a: f64, b: f64| f64::from(u8::from(a > b));
        match self.with(limit, Operation::Above, above) {
            Self::Known(above) => {
                if above != 0.0 {
                    yes
                } else {
                    no
                }
            }
            Self::Register(tape, above) => {
                tape.push(Operation::Select, [above, tape.register(yes), tape.register(no)])
            }
        }
    }
    fn power_of(self, base: f64) -> Self {
        match self {
            Self::Known(step) => Self::Known(step.power_of(base)),
            Self::Register(tape, _) => {
                tape.push(Operation::Power, [tape.register(Self::Known(base)), 0, 0])
            }
        }
    }
}
