//! Go's algorithm, for any number of registers of each class.
#![forbid(unsafe_code)]

use super::{AssignError, Assignment, Place, Value, pieces};
use crate::abi::{Abi, RegClass};
use crate::signature::{Layout, Need, Role, Signature, Type, WORD, round_up};

/// Registers taken so far and the ends of the two growing areas.
struct State {
    abi: Abi,
    ints: usize,
    floats: usize,
    stack: u64,
    spill: u64,
    /// A value that does not fit gives back the registers that its first parts had taken.
    roll_back: bool,
}

const ONLY_C: &str = "Go has no such values";

/// Refuses what only C has.
fn check(sig: &Signature, abi: Abi) -> Result<(), AssignError> {
    if sig.fixed().is_some() {
        return Err(AssignError::Variadic { abi });
    }
    let receiver = sig.receiver().map(|ty| (ty, Role::Receiver));
    let params = sig.params().iter().zip((0..).map(Role::Parameter));
    let results = sig.results().iter().zip((0..).map(Role::Result));
    let mut all = receiver.into_iter().chain(params).chain(results);
    match all.find(|(ty, _)| !ty.is_go()) {
        None => Ok(()),
        Some((ty, role)) => Err(AssignError::NotByValue {
            role,
            found: ty.clone(),
            abi,
            why: ONLY_C,
        }),
    }
}

pub(super) fn assign(sig: &Signature, abi: Abi) -> Result<Assignment, AssignError> {
    assign_with(sig, abi, true)
}

/// Go's algorithm, or with `roll_back` false a mistake planted on purpose.
pub(super) fn assign_with(
    sig: &Signature,
    abi: Abi,
    roll_back: bool,
) -> Result<Assignment, AssignError> {
    check(sig, abi)?;
    let mut state = State {
        abi,
        ints: 0,
        floats: 0,
        stack: 0,
        spill: 0,
        roll_back,
    };

    let mut args: Vec<Value> = sig
        .arguments()
        .filter_map(|ty| state.value(ty, true))
        .collect();
    let args_end = state.stack;
    let (int_in, float_in) = (state.ints, state.floats);

    let results_off = round_up(args_end, WORD);
    (state.ints, state.floats, state.stack) = (0, 0, results_off);
    let results = sig
        .results()
        .iter()
        .filter_map(|ty| state.value(ty, false))
        .collect();

    let spill_off = round_up(state.stack, WORD);
    let spill_size = round_up(state.spill, WORD);
    // Until here spill slots counted from their own area, whose place the results decide.
    for arg in &mut args {
        if let Place::Regs {
            spill: Some(spill), ..
        } = &mut arg.place
        {
            *spill += spill_off;
        }
    }
    Ok(Assignment {
        abi,
        args,
        results,
        args_end,
        results_off,
        results_end: state.stack,
        spill_off,
        spill_size,
        frame_size: spill_off + spill_size,
        int_in,
        float_in,
        int_out: state.ints,
        float_out: state.floats,
        hidden_result: None,
    })
}

impl State {
    /// `None` only for an opaque type, which no signature holds.
    fn value(&mut self, ty: &Type, is_argument: bool) -> Option<Value> {
        let layout = ty.layout()?;
        let place = match layout.need {
            Some(need) if layout.size > 0 && self.fits(need) => {
                self.registers(ty, layout, need, is_argument)
            }
            need => {
                if let (Some(need), false) = (need, self.roll_back) {
                    let tried = self.ints + usize::from(need.ints);
                    self.ints = tried.min(self.abi.int_regs());
                }
                Place::Stack {
                    offset: take(&mut self.stack, layout),
                }
            }
        };
        Value::under(self.abi, ty, place)
    }

    fn fits(&self, need: Need) -> bool {
        let (ints, floats) = (usize::from(need.ints), usize::from(need.floats));
        self.ints + ints <= self.abi.int_regs() && self.floats + floats <= self.abi.float_regs()
    }

    fn registers(&mut self, ty: &Type, layout: Layout, need: Need, is_argument: bool) -> Place {
        let mut pieces = pieces(ty);
        for piece in &mut pieces {
            piece.index += match piece.class {
                RegClass::Int => self.ints,
                RegClass::Float => self.floats,
            };
        }
        self.ints += usize::from(need.ints);
        self.floats += usize::from(need.floats);
        let spill = is_argument.then(|| take(&mut self.spill, layout));
        Place::Regs { pieces, spill }
    }
}

/// Grows an area by one value and returns where it begins.
fn take(area: &mut u64, layout: Layout) -> u64 {
    let offset = round_up(*area, layout.align);
    *area = offset + layout.size;
    offset
}
