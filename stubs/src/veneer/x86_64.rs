//! The veneer for amd64, and the reference for the others.
//!
//! ```text
//! Direct, on entry          Direct, at the jump     Image, on entry  Image, at the jump or call
//!   rcx  integer word 0       rax  integer word 0     rdi  image       rax rbx rcx rdi rsi r8..r11
//!   r8   integer word 1       rbx  integer word 1                      xmm0..xmm14
//!   rdx  closure context      rdx  closure context                     rdx  closure context
//!   rdi  code address         r14  g                                   r14  g
//!   rsi  g                    xmm15  0                                 xmm15  0
//!   xmm0..xmm7 float words    xmm0..xmm7 unchanged                     r12  code address
//!   [rsp] return address into the stub, [rsp+8] the argument base: untouched by a jump
//! ```
//! rcx, rdi, rsi, r8 .. keep what they had: to a Go callee they are garbage, as Go allows. r12 is
//! Go's scratch.
//!
//! With results to store it pops the return address into the save area, so that its own call pushes
//! another to the same place. Back from it rsp is the argument base; the registers go to the image,
//! which lies `save` bytes above, and the veneer returns to the address it saved. To the processor
//! every return has its call: predictors and shadow stacks agree.
#![forbid(unsafe_code)]

use super::{Encoded, Form, Plan, image};

/// A general register: its hardware number is its place here.
const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const RBX: u8 = 3;
const RSI: u8 = 6;
const RDI: u8 = 7;
const R8: u8 = 8;
const R12: u8 = 12;
const R14: u8 = 14;
/// Go's integer argument registers.
const INTS: [u8; 9] = [RAX, RBX, RCX, RDI, RSI, R8, 9, 10, 11];

pub(super) fn encode(plan: &Plan, save: i32) -> Result<Encoded, String> {
    let mut code = Encoded::default();
    let target = match plan.form {
        Form::Direct => {
            for (to, from) in [(RAX, RCX), (RBX, R8)].into_iter().take(plan.ints.into()) {
                mov(&mut code, to, from);
            }
            mov(&mut code, R14, RSI);
            RDI
        }
        Form::Image => {
            if plan.calls {
                pop(&mut code, image::RETURN);
            }
            load(&mut code, R12, image::CODE);
            load(&mut code, RDX, image::CONTEXT);
            load(&mut code, R14, image::G);
            for n in 0..plan.floats {
                load_float(&mut code, n, plan.float(n));
            }
            // rdi is the image's address, so whatever belongs in rdi is loaded last.
            let words = || INTS.iter().zip(0..plan.ints);
            for (&register, n) in words()
                .filter(|w| *w.0 != RDI)
                .chain(words().filter(|w| *w.0 == RDI))
            {
                load(&mut code, register, plan.int(n));
            }
            R12
        }
    };
    code.push("xorps xmm15, xmm15".into(), &[0x45, 0x0f, 0x57, 0xff]);
    if !plan.calls {
        jump(&mut code, target);
        return Ok(code);
    }
    code.push("call r12".into(), &[0x41, 0xff, 0xd4]);
    for (&register, n) in INTS.iter().zip(0..plan.int_results) {
        store(&mut code, register, save + plan.int(n));
    }
    for n in 0..plan.float_results {
        store_float(&mut code, n, save + plan.float(n));
    }
    push(&mut code, save + image::RETURN);
    code.push("ret".into(), &[0xc3]);
    Ok(code)
}

/// Bytes that the stub's call has pushed.
const RETURN_ADDRESS: i32 = 8;

/// Windows' integer argument registers.
const WINDOWS_INTS: [u8; 4] = [RCX, RDX, R8, 9];

/// What C's variadic functions want beside their arguments, which are where the stub has put them:
/// in al the number of xmm registers used (System V), or the words of xmm registers in the integer
/// registers of the same position too (Windows). Then a jump to the function, whose address is
/// `code` bytes above the stack pointer of the stub's call.
pub(super) fn variadic(vectors: Option<u8>, doubled: &[u8], code: i32) -> Encoded {
    let mut veneer = Encoded::default();
    for &position in doubled {
        let to = WINDOWS_INTS[usize::from(position)];
        let bytes = [
            0x66,
            0x48 | to >> 3,
            0x0f,
            0x7e,
            0xc0 | position << 3 | to & 7,
        ];
        veneer.push(format!("movq {}, xmm{position}", name(to)), &bytes);
    }
    if let Some(count) = vectors {
        veneer.push(format!("mov eax, {count}"), &[0xb8, count, 0, 0, 0]);
    }
    let mut bytes = vec![0xff, 0xa4];
    from_stack(&mut bytes, code + RETURN_ADDRESS);
    veneer.push(format!("jmp [rsp + {}]", code + RETURN_ADDRESS), &bytes);
    veneer
}

fn name(register: u8) -> &'static str {
    NAMES[usize::from(register)]
}

/// REX.W 89 /r.
fn mov(code: &mut Encoded, to: u8, from: u8) {
    let bytes = [
        0x48 | from >> 3 << 2 | to >> 3,
        0x89,
        0xc0 | (from & 7) << 3 | to & 7,
    ];
    code.push(format!("mov {}, {}", name(to), name(from)), &bytes);
}

/// REX.W 8b /r with a 32-bit displacement from rdi.
fn load(code: &mut Encoded, to: u8, offset: i32) {
    let mut bytes = vec![0x48 | to >> 3 << 2, 0x8b, 0x80 | (to & 7) << 3 | RDI];
    bytes.extend(offset.to_le_bytes());
    code.push(format!("mov {}, [rdi + {offset}]", name(to)), &bytes);
}

/// F2 REX 0F 10 /r with a 32-bit displacement from rdi.
fn load_float(code: &mut Encoded, to: u8, offset: i32) {
    let mut bytes = vec![
        0xf2,
        0x40 | to >> 3 << 2,
        0x0f,
        0x10,
        0x80 | (to & 7) << 3 | RDI,
    ];
    bytes.extend(offset.to_le_bytes());
    code.push(format!("movsd xmm{to}, [rdi + {offset}]"), &bytes);
}

/// FF /4.
fn jump(code: &mut Encoded, register: u8) {
    let bytes = [0x41, 0xff, 0xe0 | register & 7];
    code.push(
        format!("jmp {}", name(register)),
        &bytes[usize::from(register < 8)..],
    );
}

/// 8F /0 with a 32-bit displacement from rdi.
fn pop(code: &mut Encoded, offset: i32) {
    let mut bytes = vec![0x8f, 0x80 | RDI];
    bytes.extend(offset.to_le_bytes());
    code.push(format!("pop [rdi + {offset}]"), &bytes);
}

/// What follows a ModRM byte whose address is rsp with a 32-bit displacement.
fn from_stack(bytes: &mut Vec<u8>, offset: i32) {
    bytes.push(0x24);
    bytes.extend(offset.to_le_bytes());
}

/// REX.W 89 /r.
fn store(code: &mut Encoded, from: u8, offset: i32) {
    let mut bytes = vec![0x48 | from >> 3 << 2, 0x89, 0x84 | (from & 7) << 3];
    from_stack(&mut bytes, offset);
    code.push(format!("mov [rsp + {offset}], {}", name(from)), &bytes);
}

/// F2 REX 0F 11 /r.
fn store_float(code: &mut Encoded, from: u8, offset: i32) {
    let mut bytes = vec![
        0xf2,
        0x40 | from >> 3 << 2,
        0x0f,
        0x11,
        0x84 | (from & 7) << 3,
    ];
    from_stack(&mut bytes, offset);
    code.push(format!("movsd [rsp + {offset}], xmm{from}"), &bytes);
}

/// FF /6; the address is made before rsp moves.
fn push(code: &mut Encoded, offset: i32) {
    let mut bytes = vec![0xff, 0xb4];
    from_stack(&mut bytes, offset);
    code.push(format!("push [rsp + {offset}]"), &bytes);
}

/// Bytes of [`lead_in`].
pub(super) const LEAD_IN: usize = 7;

/// `lea r8, [rip + distance]`: REX.W 8D /r.
pub(super) fn lead_in(distance: i32) -> [u8; LEAD_IN] {
    let [a, b, c, d] = distance.to_le_bytes();
    [0x4c, 0x8d, 0x05, a, b, c, d]
}
