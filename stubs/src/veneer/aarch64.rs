//! The veneer for arm64.
//!
//! ```text
//! Direct, on entry       Direct, at the jump     Image, on entry  Image, at the jump or call
//!   x0  integer word 0     x0   integer word 0     x0  image        x0..x15
//!   x1  integer word 1     x1   integer word 1                      d0..d15
//!   x2  closure context    x26  closure context                     x26  closure context
//!   x3  code address       x16  code address                        x16  code address
//!   x4  g                  x28  g                                   x28  g
//!   d0..d7  float words    d0..d7  unchanged
//!   x30  return address into the stub; [sp+8] the argument base: untouched by a jump
//! ```
//! x16 and x17 are everybody's scratch; a branch by x16 may land on `bti c`.
//!
//! With results to store, x30 goes to the save area before the call. After it only sp is known; x17
//! takes the address of the image, `save` bytes above.
#![forbid(unsafe_code)]

use super::{Encoded, Form, Plan, image};

const CALL: u32 = 16;
const IMAGE: u32 = 17;
const CONTEXT: u32 = 26;
const G: u32 = 28;
const LINK: u32 = 30;
const SP: u32 = 31;

pub(super) fn encode(plan: &Plan, save: i32) -> Result<Encoded, String> {
    let mut code = Encoded::default();
    match plan.form {
        Form::Direct => {
            mov(&mut code, CONTEXT, 2);
            mov(&mut code, CALL, 3);
            mov(&mut code, G, 4);
        }
        Form::Image => {
            if plan.calls {
                store(&mut code, LINK, 0, image::RETURN);
            }
            load(&mut code, CALL, 0, image::CODE);
            load(&mut code, CONTEXT, 0, image::CONTEXT);
            load(&mut code, G, 0, image::G);
            for n in 0..plan.floats {
                float(&mut code, "ldr", 0xfd40_0000, n.into(), 0, plan.float(n));
            }
            // x0 is the image's address, so it is loaded last.
            for n in (0..plan.ints).rev() {
                load(&mut code, n.into(), 0, plan.int(n));
            }
        }
    }
    if !plan.calls {
        code.word("br x16".into(), 0xd61f_0000 | CALL << 5);
        return Ok(code);
    }
    code.word("blr x16".into(), 0xd63f_0000 | CALL << 5);
    let save = u32::try_from(save)
        .ok()
        .filter(|&save| save < 1 << 24)
        .ok_or_else(|| format!("save area {save} bytes above sp, wanted it below 1 << 24"))?;
    if save < 1 << 12 {
        add(&mut code, IMAGE, SP, save, false);
    } else {
        add(&mut code, IMAGE, SP, save >> 12, true);
        add(&mut code, IMAGE, IMAGE, save & 0xfff, false);
    }
    for n in 0..plan.int_results {
        store(&mut code, n.into(), IMAGE, plan.int(n));
    }
    for n in 0..plan.float_results {
        float(
            &mut code,
            "str",
            0xfd00_0000,
            n.into(),
            IMAGE,
            plan.float(n),
        );
    }
    load(&mut code, LINK, IMAGE, image::RETURN);
    code.word("ret".into(), 0xd65f_0000 | LINK << 5);
    Ok(code)
}

/// ORR (shifted register) with the zero register.
fn mov(code: &mut Encoded, to: u32, from: u32) {
    code.word(format!("mov x{to}, x{from}"), 0xaa00_03e0 | from << 16 | to);
}

/// An address as [base, #offset]: the offset counts words and has 12 bits, far above any image.
fn address(base: u32, offset: i32) -> u32 {
    (offset as u32 / 8) << 10 | base << 5
}

fn load(code: &mut Encoded, to: u32, base: u32, offset: i32) {
    let word = 0xf940_0000 | address(base, offset) | to;
    code.word(format!("ldr x{to}, [x{base}, #{offset}]"), word);
}

fn store(code: &mut Encoded, from: u32, base: u32, offset: i32) {
    let word = 0xf900_0000 | address(base, offset) | from;
    code.word(format!("str x{from}, [x{base}, #{offset}]"), word);
}

/// LDR or STR of a d register.
fn float(code: &mut Encoded, name: &str, opcode: u32, register: u32, base: u32, offset: i32) {
    code.word(
        format!("{name} d{register}, [x{base}, #{offset}]"),
        opcode | address(base, offset) | register,
    );
}

/// ADD (immediate), the immediate shifted left by 12 if `upper`.
fn add(code: &mut Encoded, to: u32, from: u32, immediate: u32, upper: bool) {
    let from_name = if from == SP {
        "sp".to_owned()
    } else {
        format!("x{from}")
    };
    let shift = if upper { ", lsl #12" } else { "" };
    let word = 0x9100_0000 | u32::from(upper) << 22 | immediate << 10 | from << 5 | to;
    code.word(format!("add x{to}, {from_name}, #{immediate}{shift}"), word);
}
