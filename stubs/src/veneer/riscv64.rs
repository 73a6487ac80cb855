//! The veneer for riscv64. It always calls.
//!
//! ```text
//! Direct, on entry         Direct, at the call     Image, on entry  Image, at the call
//!   x10  integer word 0      x10  integer word 0     x10  image       x10..x17 x8 x9 x18..x23
//!   x11  integer word 1      x11  integer word 1                      f10..f17 f8 f9 f18..f23
//!   x12  closure context     x26  closure context                     x26  closure context
//!   x13  code address        x13  code address                        x31  code address
//!   x14  g                   x27  g                                   x27  g
//!   f10..f17  float words    f10..f17  unchanged
//!   x1  return address into the stub; 8(x2) the argument base: untouched
//! ```
//! f9 (fs1) belongs to the stub's caller, and Cranelift saves every register of that kind but this
//! one. So the veneer saves it, with x1, in the save area, and loads it again after the call, once
//! its result is stored. After the call only x2 (sp) is known; x31, Go's scratch, takes the address
//! of the save area.
//!
//! Float words are whole registers; the stub boxes a float32 as the machine wants it.
#![forbid(unsafe_code)]

use super::{Encoded, Form, Plan, image};

const LINK: u32 = 1;
const SP: u32 = 2;
const IMAGE: u32 = 10;
const CONTEXT: u32 = 26;
const G: u32 = 27;
const SCRATCH: u32 = 31;
/// The float register that Cranelift does not save.
const UNSAVED: u32 = 9;

/// Go's sequence of argument registers, integer and float alike.
const SEQUENCE: [u32; 16] = [10, 11, 12, 13, 14, 15, 16, 17, 8, 9, 18, 19, 20, 21, 22, 23];

pub(super) fn encode(plan: &Plan, save: i32) -> Result<Encoded, String> {
    let mut code = Encoded::default();
    let target = match plan.form {
        Form::Direct => {
            save_area(&mut code, save)?;
            sd(&mut code, LINK, SCRATCH, image::RETURN);
            fsd(&mut code, UNSAVED, SCRATCH, image::SAVED);
            mv(&mut code, CONTEXT, 12);
            mv(&mut code, G, 14);
            13
        }
        Form::Image => {
            sd(&mut code, LINK, IMAGE, image::RETURN);
            fsd(&mut code, UNSAVED, IMAGE, image::SAVED);
            ld(&mut code, SCRATCH, IMAGE, image::CODE);
            ld(&mut code, CONTEXT, IMAGE, image::CONTEXT);
            ld(&mut code, G, IMAGE, image::G);
            for (n, &register) in (0..plan.floats).zip(&SEQUENCE) {
                fld(&mut code, register, IMAGE, plan.float(n));
            }
            // The image's address is in the first of them, which is loaded last.
            for (n, &register) in (0..plan.ints).zip(&SEQUENCE).rev() {
                ld(&mut code, register, IMAGE, plan.int(n));
            }
            SCRATCH
        }
    };
    jalr(&mut code, LINK, target);
    save_area(&mut code, save)?;
    for (n, &register) in (0..plan.int_results).zip(&SEQUENCE) {
        sd(&mut code, register, SCRATCH, plan.int(n));
    }
    for (n, &register) in (0..plan.float_results).zip(&SEQUENCE) {
        fsd(&mut code, register, SCRATCH, plan.float(n));
    }
    fld(&mut code, UNSAVED, SCRATCH, image::SAVED);
    ld(&mut code, LINK, SCRATCH, image::RETURN);
    jalr(&mut code, 0, LINK);
    Ok(code)
}

/// x31 = sp + save: lui, addi, add; addi alone where it reaches.
fn save_area(code: &mut Encoded, save: i32) -> Result<(), String> {
    if save < 2048 {
        addi(code, SCRATCH, SP, save);
        return Ok(());
    }
    let upper = save
        .checked_add(0x800)
        .ok_or_else(|| format!("save area {save} bytes above sp, wanted it below 2 GiB"))?;
    let page = upper as u32 >> 12;
    let text = format!("lui x{SCRATCH}, {page:#x}");
    code.word(text, page << 12 | SCRATCH << 7 | 0x37);
    addi(code, SCRATCH, SCRATCH, save - (page << 12) as i32);
    let text = format!("add x{SCRATCH}, x{SCRATCH}, x{SP}");
    code.word(text, SP << 20 | SCRATCH << 15 | SCRATCH << 7 | 0x33);
    Ok(())
}

/// I-type: a 12-bit signed immediate on top.
fn i_type(opcode: u32, funct: u32, to: u32, from: u32, immediate: i32) -> u32 {
    (immediate as u32) << 20 | from << 15 | funct << 12 | to << 7 | opcode
}

/// S-type: the immediate in two parts.
fn s_type(opcode: u32, from: u32, base: u32, offset: i32) -> u32 {
    let offset = offset as u32;
    (offset >> 5 & 0x7f) << 25 | from << 20 | base << 15 | 3 << 12 | (offset & 0x1f) << 7 | opcode
}

fn addi(code: &mut Encoded, to: u32, from: u32, immediate: i32) {
    let word = i_type(0x13, 0, to, from, immediate);
    code.word(format!("addi x{to}, x{from}, {immediate}"), word);
}

fn mv(code: &mut Encoded, to: u32, from: u32) {
    code.word(format!("mv x{to}, x{from}"), i_type(0x13, 0, to, from, 0));
}

fn ld(code: &mut Encoded, to: u32, base: u32, offset: i32) {
    let word = i_type(0x03, 3, to, base, offset);
    code.word(format!("ld x{to}, {offset}(x{base})"), word);
}

fn fld(code: &mut Encoded, to: u32, base: u32, offset: i32) {
    let word = i_type(0x07, 3, to, base, offset);
    code.word(format!("fld f{to}, {offset}(x{base})"), word);
}

fn sd(code: &mut Encoded, from: u32, base: u32, offset: i32) {
    let word = s_type(0x23, from, base, offset);
    code.word(format!("sd x{from}, {offset}(x{base})"), word);
}

fn fsd(code: &mut Encoded, from: u32, base: u32, offset: i32) {
    let word = s_type(0x27, from, base, offset);
    code.word(format!("fsd f{from}, {offset}(x{base})"), word);
}

fn jalr(code: &mut Encoded, link: u32, target: u32) {
    let text = match link {
        0 => "ret".into(),
        _ => format!("jalr x{target}"),
    };
    code.word(text, i_type(0x67, 0, link, target, 0));
}
