//! The veneer for s390x. It always calls.
//!
//! ```text
//! Direct, on entry       Direct, at the call     Image, on entry  Image, at the call
//!   r2  integer word 0     r2   integer word 0     r2  image        r2..r9
//!   r3  integer word 1     r3   integer word 1                      f0..f15
//!   r4  closure context    r12  closure context                     r12  closure context
//!   r5  code address       r1   code address                        r1   code address
//!   r6  g                  r13  g                                   r13  g
//!   f0  float word         r0   0                                   r0   0
//!   r14  return address into the stub
//! ```
//! ```text
//!   on entry                       at the call
//!   r15 + 160 ..  callee's frame   r15 + 8 ..   callee's frame: its argument base
//!   r15 ..        register save    r15 - 152 .. below the stack pointer: anyone's
//!                 area of the ELF ABI
//! ```
//! The stub's slot 0 lies right above the 160 bytes that every caller keeps at its stack pointer
//! for a C callee. A Go callee has no use for them, so for the call the veneer moves r15 up by 152,
//! and the slot is the callee's frame without a copy. Nothing of the stub's is below r15 then: the
//! return address is in the save area, above the frame, and the back chain, which Cranelift writes
//! to the word at r15, is copied to the word at r15 of the call, which a Go function leaves to its
//! caller. So an unwinder, which goes by the back chain, sees the veneer's call as the stub's.
#![forbid(unsafe_code)]

use super::{Encoded, Form, Plan, image};

/// Bytes that the ELF ABI's caller keeps at its stack pointer.
pub(super) const SAVE_AREA: i32 = 160;
/// Bytes the stack pointer is moved up by: Go's argument base is 8 bytes above it.
pub(super) const RAISE: i32 = SAVE_AREA - 8;

const CALL: u8 = 1;
const IMAGE: u8 = 2;
const CONTEXT: u8 = 12;
const G: u8 = 13;
const LINK: u8 = 14;
const SP: u8 = 15;
/// Go's first integer argument register; the others follow.
const FIRST: u8 = 2;

pub(super) fn encode(plan: &Plan, save: i32) -> Result<Encoded, String> {
    // Displacements are signed numbers of 20 bits.
    if save + plan.slot_bytes() >= 1 << 19 {
        return Err(format!(
            "save area {save} bytes above r15, wanted it below 512 KiB"
        ));
    }
    let mut code = Encoded::default();
    store(&mut code, LINK, SP, save + image::RETURN);
    match plan.form {
        Form::Direct => {
            move_register(&mut code, CONTEXT, 4);
            move_register(&mut code, CALL, 5);
            move_register(&mut code, G, 6);
        }
        Form::Image => {
            load(&mut code, CALL, IMAGE, image::CODE);
            load(&mut code, CONTEXT, IMAGE, image::CONTEXT);
            load(&mut code, G, IMAGE, image::G);
            for n in 0..plan.floats {
                float(&mut code, "ldy", 0x65, n, IMAGE, plan.float(n));
            }
            // The image's address is in the first of them, which is loaded last.
            for n in (0..plan.ints).rev() {
                load(&mut code, FIRST + n, IMAGE, plan.int(n));
            }
        }
    }
    copy_word(&mut code, RAISE, SP);
    immediate(&mut code, "lghi", 0x9, 0, 0);
    immediate(&mut code, "aghi", 0xb, SP, RAISE as i16);
    code.push("basr %r14, %r1".into(), &[0x0d, LINK << 4 | CALL]);
    immediate(&mut code, "aghi", 0xb, SP, -RAISE as i16);
    for n in 0..plan.int_results {
        store(&mut code, FIRST + n, SP, save + plan.int(n));
    }
    for n in 0..plan.float_results {
        float(&mut code, "stdy", 0x67, n, SP, save + plan.float(n));
    }
    load(&mut code, LINK, SP, save + image::RETURN);
    code.push("br %r14".into(), &[0x07, 0xf0 | LINK]);
    Ok(code)
}

/// RXY: register, base, 20-bit displacement with its low 12 bits first.
fn rxy(opcodes: [u8; 2], register: u8, base: u8, offset: i32) -> [u8; 6] {
    let [_, high, middle, low] = offset.to_be_bytes();
    let upper = high << 4 | middle >> 4;
    [
        opcodes[0],
        register << 4,
        base << 4 | middle & 0xf,
        low,
        upper,
        opcodes[1],
    ]
}

fn load(code: &mut Encoded, to: u8, base: u8, offset: i32) {
    code.push(
        format!("lg %r{to}, {offset}(%r{base})"),
        &rxy([0xe3, 0x04], to, base, offset),
    );
}

fn store(code: &mut Encoded, from: u8, base: u8, offset: i32) {
    code.push(
        format!("stg %r{from}, {offset}(%r{base})"),
        &rxy([0xe3, 0x24], from, base, offset),
    );
}

/// LDY or STDY.
fn float(code: &mut Encoded, name: &str, opcode: u8, register: u8, base: u8, offset: i32) {
    code.push(
        format!("{name} %f{register}, {offset}(%r{base})"),
        &rxy([0xed, opcode], register, base, offset),
    );
}

/// MVC of 8 bytes, from where `base` points to `offset` bytes above, at most 4095.
fn copy_word(code: &mut Encoded, offset: i32, base: u8) {
    let [.., high, low] = offset.to_be_bytes();
    code.push(
        format!("mvc {offset}(8,%r{base}), 0(%r{base})"),
        &[0xd2, 7, base << 4 | high, low, base << 4, 0],
    );
}

/// LGR.
fn move_register(code: &mut Encoded, to: u8, from: u8) {
    code.push(
        format!("lgr %r{to}, %r{from}"),
        &[0xb9, 0x04, 0x00, to << 4 | from],
    );
}

/// RI: a register and a 16-bit signed number.
fn immediate(code: &mut Encoded, name: &str, opcode: u8, register: u8, value: i16) {
    let [high, low] = value.to_be_bytes();
    code.push(
        format!("{name} %r{register}, {value}"),
        &[0xa7, register << 4 | opcode, high, low],
    );
}
