//! The veneer for amd64, and the reference for the others.
//!
//! ```text
//! Direct, on entry            Direct, at the jump        Image, on entry        Image, at the jump
//!   rdi  integer word 0         rax  integer word 0        rdi  image             rax rbx rcx rdi rsi r8 r9 r10 r11
//!   rsi  integer word 1         rbx  integer word 1                               xmm0..xmm14
//!   rdx  closure context        rdx  closure context                              rdx  closure context
//!   rcx  code address           r14  g                                            r14  g
//!   r8   g                      xmm15  0                                          xmm15  0
//!   xmm0..xmm7 float words      xmm0..xmm7 unchanged                              r12  code address
//!   [rsp] return address into the stub, [rsp+8] the argument base: untouched
//! ```
//! rcx, rdi, rsi, r8 .. keep what they had: to a Go callee they are garbage, as Go allows. r12 is Go's scratch.
#![forbid(unsafe_code)]

use super::{Encoded, Plan, image};

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

pub(super) fn encode(plan: Plan) -> Encoded {
    let mut code = Encoded::default();
    let target = match plan {
        Plan::Direct { ints } => {
            for (to, from) in [(RAX, RDI), (RBX, RSI)].into_iter().take(ints.into()) {
                mov(&mut code, to, from);
            }
            mov(&mut code, R14, R8);
            RCX
        }
        Plan::Image { ints, floats } => {
            load(&mut code, R12, image::CODE);
            load(&mut code, RDX, image::CONTEXT);
            load(&mut code, R14, image::G);
            for n in 0..floats {
                load_float(&mut code, n, image::float(ints, n));
            }
            // rdi is the image's address, so whatever belongs in rdi is loaded last.
            let words = || INTS.iter().zip(0..ints);
            for (&register, n) in words()
                .filter(|w| *w.0 != RDI)
                .chain(words().filter(|w| *w.0 == RDI))
            {
                load(&mut code, register, image::int(n));
            }
            R12
        }
    };
    code.push("xorps xmm15, xmm15".into(), &[0x45, 0x0f, 0x57, 0xff]);
    jump(&mut code, target);
    code
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
