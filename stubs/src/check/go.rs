//! The rules of Go's family.
#![forbid(unsafe_code)]

use super::{
    Registers, Rule, Violation, broken, expect, expect_first_aligned, parts_in_registers,
    pieces_are,
};
use crate::assign::{Assignment, Place, Value};
use crate::quote::short;
use crate::signature::WORD;

pub(super) fn check(a: &Assignment) -> Result<(), Violation> {
    if a.hidden_result.is_some() {
        return broken(
            Rule::Hidden,
            format!("hidden result in {}, wanted none", a.abi),
        );
    }
    let args = direction(a, "argument", &a.args, 0)?;
    expect(
        Rule::Areas,
        format_args!("end of stack arguments"),
        a.args_end,
        args.stack_end,
    )?;
    expect_first_aligned(
        Rule::Areas,
        format_args!("start of stack results"),
        a.results_off,
        a.args_end,
        WORD,
    )?;

    let results = direction(a, "result", &a.results, a.results_off)?;
    expect(
        Rule::Areas,
        format_args!("end of stack results"),
        a.results_end,
        results.stack_end,
    )?;
    expect_first_aligned(
        Rule::Areas,
        format_args!("start of the spill area"),
        a.spill_off,
        a.results_end,
        WORD,
    )?;
    expect_first_aligned(
        Rule::Areas,
        format_args!("size of the spill area"),
        a.spill_size,
        args.spill_end,
        WORD,
    )?;
    let frame = u128::from(a.spill_off) + u128::from(a.spill_size);
    expect(
        Rule::Areas,
        format_args!("size of the frame"),
        u128::from(a.frame_size),
        frame,
    )?;

    let totals = [
        ("integer registers in", a.int_in, args.registers.ints),
        ("float registers in", a.float_in, args.registers.floats),
        ("integer registers out", a.int_out, results.registers.ints),
        ("float registers out", a.float_out, results.registers.floats),
    ];
    totals.into_iter().try_for_each(|(what, found, used)| {
        expect(Rule::Totals, format_args!("{what}"), found, used)
    })
}

/// What the values of one direction have taken.
struct Taken {
    registers: Registers,
    stack_end: u64,
    spill_end: u64,
}

/// Looks at the arguments or the results in order.
fn direction(a: &Assignment, side: &str, values: &[Value], stack: u64) -> Result<Taken, Violation> {
    let (max_ints, max_floats) = (a.abi.int_regs(), a.abi.float_regs());
    let registers = Registers {
        ints: 0,
        floats: 0,
        max_ints,
        max_floats,
    };
    let mut taken = Taken {
        registers,
        stack_end: stack,
        spill_end: 0,
    };
    for (i, value) in values.iter().enumerate() {
        let what = format_args!("{side} {i}");
        match &value.place {
            Place::Split { .. } | Place::Reference { .. } => {
                let detail = format!(
                    "{what} is split or a reference, wanted neither in {}",
                    a.abi
                );
                return broken(Rule::Whole, detail);
            }
            Place::Hidden { .. } => {
                return broken(
                    Rule::Hidden,
                    format!(
                        "{what} is behind a hidden pointer, wanted none in {}",
                        a.abi
                    ),
                );
            }
            Place::Stack { offset } => {
                let parts = parts_in_registers(&value.ty).filter(|_| value.size > 0);
                if parts.is_some_and(|parts| taken.registers.hold(&parts)) {
                    return broken(
                        Rule::Fit,
                        format!("{what} is on the stack, wanted it in the registers left"),
                    );
                }
                let align = value.align;
                expect_first_aligned(
                    Rule::Stack,
                    format_args!("offset of {what}"),
                    *offset,
                    taken.stack_end,
                    align,
                )?;
                taken.stack_end = offset + value.size;
            }
            Place::Regs { pieces, spill } => {
                let Some(parts) = parts_in_registers(&value.ty).filter(|_| value.size > 0) else {
                    return broken(
                        Rule::Whole,
                        format!(
                            "{what} is in registers, wanted it in memory: {}",
                            short(&value.ty)
                        ),
                    );
                };
                pieces_are(what, pieces, &parts)?;
                taken.registers.take(what, pieces, &parts)?;
                match spill {
                    None if side == "result" => {}
                    Some(spill) if side == "argument" && *spill >= a.spill_off => {
                        let (slot, align) = (spill - a.spill_off, value.align);
                        let name = format_args!("spill slot of {what} in the spill area");
                        expect_first_aligned(Rule::Spill, name, slot, taken.spill_end, align)?;
                        taken.spill_end = slot + value.size;
                    }
                    Some(spill) => {
                        let detail = format!(
                            "spill slot of {what} is at {spill}, wanted it in an argument's spill \
                             area"
                        );
                        return broken(Rule::Spill, detail);
                    }
                    None => {
                        return broken(
                            Rule::Spill,
                            format!("{what} has no spill slot, wanted one"),
                        );
                    }
                }
            }
        }
    }
    Ok(taken)
}
