//! Workgroup memory is written before it is read, so that nobody has to zero it.

use super::list::{shaders, small_shaders};
use super::module;
use naga::{
    Barrier, Binding, Block, BuiltIn, Expression, Function, GlobalVariable, Handle, Module,
    Statement, TypeInner,
};
use std::collections::HashMap;

/// What has happened to a variable of workgroup memory, in the order of the text.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Written,
    /// Every thread has passed a barrier since.
    Shared,
}

/// Follows a kernel's statements, calls included.
struct Walk<'a> {
    name: &'a str,
    module: &'a Module,
    variables: HashMap<Handle<GlobalVariable>, State>,
}

impl Walk<'_> {
    /// The workgroup variable that a pointer leads to, and the index into it, if any.
    fn target(
        &self,
        function: &Function,
        pointer: Handle<Expression>,
    ) -> Option<(Handle<GlobalVariable>, Option<Handle<Expression>>)> {
        match function.expressions[pointer] {
            Expression::GlobalVariable(variable) => {
                let space = self.module.global_variables[variable].space;
                (space == naga::AddressSpace::WorkGroup).then_some((variable, None))
            }
            Expression::Access { base, index } => {
                self.target(function, base).map(|(variable, _)| (variable, Some(index)))
            }
            Expression::AccessIndex { base, .. } => self.target(function, base),
            _ => None,
        }
    }

    fn is_array(&self, variable: Handle<GlobalVariable>) -> bool {
        let ty = self.module.global_variables[variable].ty;
        matches!(self.module.types[ty].inner, TypeInner::Array { .. })
    }

    /// A single variable is one thread's to write; of an array each thread writes its element, and
    /// then all wait.
    fn read(&self, variable: Handle<GlobalVariable>) {
        let state = self.variables.get(&variable).copied();
        let ready =
            if self.is_array(variable) { state == Some(State::Shared) } else { state.is_some() };
        let of = &self.module.global_variables[variable].name;
        assert!(ready, "{}: {of:?} is read when it was not written by all", self.name);
    }

    fn write(&mut self, function: &Function, pointer: Handle<Expression>, unconditional: bool) {
        let Some((variable, index)) = self.target(function, pointer) else { return };
        if self.variables.contains_key(&variable) {
            return;
        }
        if self.is_array(variable) {
            let own = index.is_some_and(|index| is_own_index(function, index));
            let of = &self.module.global_variables[variable].name;
            assert!(unconditional && own, "{}: not every thread writes its {of:?}", self.name);
        }
        self.variables.insert(variable, State::Written);
    }

    fn block(&mut self, function: &Function, block: &Block, unconditional: bool) {
        for statement in block {
            match statement {
                Statement::Emit(range) => {
                    for handle in range.clone() {
                        if let Expression::Load { pointer } = function.expressions[handle]
                            && let Some((variable, _)) = self.target(function, pointer)
                        {
                            self.read(variable);
                        }
                    }
                }
                Statement::Store { pointer, .. } => self.write(function, *pointer, unconditional),
                Statement::Call { function: called, .. } => {
                    let called = &self.module.functions[*called];
                    self.block(called, &called.body, unconditional);
                }
                Statement::ControlBarrier(barrier) if barrier.contains(Barrier::WORK_GROUP) => {
                    self.variables.values_mut().for_each(|state| *state = State::Shared);
                }
                Statement::Block(block) => self.block(function, block, unconditional),
                Statement::If { accept, reject, .. } => {
                    self.block(function, accept, false);
                    self.block(function, reject, false);
                }
                Statement::Switch { cases, .. } => {
                    cases.iter().for_each(|case| self.block(function, &case.body, false));
                }
                Statement::Loop { body, continuing, .. } => {
                    self.block(function, body, false);
                    self.block(function, continuing, false);
                }
                Statement::Atomic { pointer, .. }
                | Statement::WorkGroupUniformLoad { pointer, .. } => {
                    if let Some((variable, _)) = self.target(function, *pointer) {
                        self.read(variable);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Whether an index is the thread's own number in its workgroup.
fn is_own_index(function: &Function, index: Handle<Expression>) -> bool {
    let Expression::FunctionArgument(argument) = function.expressions[index] else { return false };
    let binding = &function.arguments[argument as usize].binding;
    matches!(binding, Some(Binding::BuiltIn(BuiltIn::LocalInvocationIndex)))
}

#[test]
fn memory_that_is_not_zeroed_is_written_before_it_is_read() {
    let mut with_memory = 0;
    for (name, shader) in shaders().chain(small_shaders()) {
        if shader.zeroed_memory || !shader.text.contains("var<workgroup>") {
            continue;
        }
        with_memory += 1;
        let (module, _) = module(&name, &shader);
        let mut walk = Walk { name: &name, module: &module, variables: HashMap::new() };
        let main = &module.entry_points[0].function;
        walk.block(main, &main.body, true);
    }
    assert!(with_memory > 10, "only {with_memory} kernels have workgroup memory");
}
