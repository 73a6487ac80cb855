//! For embedders with a Cranelift of their own: signatures of functions that their JIT compiled, as
//! this crate's; stubs and entries in their modules ([`define_stub`], [`define_entry`]). Feature
//! `clif`; with it types of `cranelift_codegen` and `cranelift_module` are part of this crate's
//! API, in the range of versions that `Cargo.toml` names.
//!
//! [`ClifSignature`] makes a [`Signature`] and an [`Abi`] of a `cranelift_codegen::ir::Signature`,
//! so that a JIT need not write Go's types to have its functions called:
//!
//! ```
//! use cranelift_codegen::ir::{AbiParam, Signature, types};
//! use cranelift_codegen::isa::CallConv;
//! use fing_stubs::clif::ClifSignature;
//! use target_lexicon::triple;
//! # use std::str::FromStr;
//!
//! let target = triple!("x86_64-unknown-linux-gnu");
//! let mut clif = Signature::new(CallConv::SystemV);
//! clif.params = vec![AbiParam::new(types::I64), AbiParam::new(types::I16).sext()];
//! clif.returns = vec![AbiParam::new(types::I64), AbiParam::new(types::F64)];
//!
//! let (signature, abi) = ClifSignature::new(&clif, &target).convert()?;
//! assert_eq!(signature.to_string(), "func(uint64, int16) (uint64, float64)");
//! assert_eq!(abi.to_string(), "sysv/amd64");
//!
//! // CLIF does not say which words are references; whoever made the function knows.
//! let typed = ClifSignature::new(&clif, &target).parameter(0, "*uint32".parse()?);
//! let (signature, _) = typed.convert()?;
//! assert_eq!(signature.to_string(), "func(*uint32, int16) (uint64, float64)");
//!
//! // Cranelift returns each value in a register of its own, C a struct of both in one.
//! clif.returns = vec![AbiParam::new(types::I32), AbiParam::new(types::I32)];
//! let error = ClifSignature::new(&clif, &target).convert().unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "CLIF signature: result 1 is i32, which Cranelift passes as bytes 0..4 in rdx, wanted \
//!      bytes 0..4 in rax from byte 4, where sysv/amd64 passes uint32",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is converted to what
//!
//! | CLIF | becomes |
//! |---|---|
//! | `i8` to `i64` | `uint8` to `uint64`, with `sext` `int8` to `int64` |
//! | `i128` | `C.uint128`, with `sext` `C.int128` |
//! | `f32`, `f64` | `float32`, `float64` |
//! | vectors of 8 or 16 bytes | `C.vector[4]uint32`, `C.vector[2]float64`, ... |
//! | parameters with the purpose `vmctx` | as without it: Cranelift passes them alike |
//! | any parameter or result of a type given by [`ClifSignature::parameter`] | that type |
//! | `system_v` | System V, AAPCS64, LP64D, ELF or Pulley's, by the machine |
//! | `windows_fastcall`, `apple_aarch64` | on x86-64, on arm64 |
//! | `tail` | on x86-64, arm64, riscv64 and s390x |
//!
//! All else is a [`ClifError`]: structs by value (`sarg`), struct returns (`sret`), `f16`, `f128`.
//!
//! A signature is converted only if both agree on the place of each value: where Cranelift's code
//! looks for it, and where this crate puts it. They mostly do. They differ where Cranelift is no C
//! compiler: several results that C returns as one struct, integers of 128 bits that find no
//! registers, on riscv64 floats beyond the eighth. Such a signature is an error, and the function
//! wants another: results through a pointer, for one.
//!
//! The bits of a register or stack slot above a small integer mean nothing to Cranelift's code,
//! whatever the extension; here they are what the convention wants.
//!
//! Functions must be compiled without Cranelift's setting `enable_pinned_reg`: with it they do not
//! keep a register that their convention has them keep.
#![forbid(unsafe_code)]

mod entry;
mod error;
mod module;
mod places;
mod unwind;

use cranelift_codegen::ir::{self, AbiParam, ArgumentExtension, ArgumentPurpose, types};
use cranelift_codegen::isa::CallConv;
use target_lexicon::Triple;

pub use entry::{EntryContext, EntryHandler, define_entry, handler_signature};
pub use error::ClifError;
pub use module::{DefineError, Defined, Definition, define_stub, stub_signature};
pub use unwind::{RelocatableTable, TableAddress, UnwindTable};

use crate::abi::{Abi, Arch, Convention};
use crate::assign::{AssignError, assign};
use crate::compile::arch_of;
use crate::signature::{CType, Kind, Role, Signature, Type};

/// A signature of Cranelift's with what is known of its types, to be converted.
///
/// It borrows both; nothing of them is kept.
#[derive(Clone, Debug)]
pub struct ClifSignature<'a> {
    clif: &'a ir::Signature,
    target: &'a Triple,
    declared: Vec<(Role, Type)>,
}

impl<'a> ClifSignature<'a> {
    /// A signature of a function that was compiled for `target`: that of the module's ISA.
    pub fn new(clif: &'a ir::Signature, target: &'a Triple) -> ClifSignature<'a> {
        ClifSignature {
            clif,
            target,
            declared: Vec::new(),
        }
    }

    /// Parameter `index` is of this type: a pointer where CLIF has `i64`, a `bool` where it has
    /// `i8`. For one index the last call counts.
    #[must_use]
    pub fn parameter(self, index: usize, ty: Type) -> ClifSignature<'a> {
        self.declare(Role::Parameter(index), ty)
    }

    /// Result `index` is of this type; see [`ClifSignature::parameter`].
    #[must_use]
    pub fn result(self, index: usize, ty: Type) -> ClifSignature<'a> {
        self.declare(Role::Result(index), ty)
    }

    fn declare(mut self, role: Role, ty: Type) -> ClifSignature<'a> {
        self.declared.retain(|(known, _)| *known != role);
        self.declared.push((role, ty));
        self
    }

    /// The same as a signature and an ABI of this crate's.
    ///
    /// # Errors
    /// All are the caller's: a convention, type or purpose that is not in the table of
    /// [`clif`](crate::clif); a type given for a value that does not exist, that is extended by the
    /// other sign, or that travels in other places than the value; a value that Cranelift and the
    /// convention pass in different places.
    pub fn convert(&self) -> Result<(Signature, Abi), ClifError> {
        let abi = Abi::native(convention(self.clif.call_conv, self.target)?);
        for (role, ty) in &self.declared {
            let (count, exists) = match role {
                Role::Result(i) => (self.clif.returns.len(), *i < self.clif.returns.len()),
                Role::Parameter(i) => (self.clif.params.len(), *i < self.clif.params.len()),
                _ => continue,
            };
            if !exists {
                return Err(ClifError::NoSuchValue {
                    role: role.clone(),
                    ty: ty.clone(),
                    count,
                });
            }
        }
        let all = |values: &[AbiParam], role: fn(usize) -> Role| {
            let typed = values.iter().enumerate();
            let typed = typed.map(|(i, value)| self.type_of(value, role(i)));
            typed.collect::<Result<Vec<Type>, ClifError>>()
        };
        let params = all(&self.clif.params, Role::Parameter)?;
        let results = all(&self.clif.returns, Role::Result)?;
        let signature = Signature::new(None, params, results, false)?;
        self.compare(&signature, abi)?;
        Ok((signature, abi))
    }

    /// The type of a value: the one that was given for it, or else the plain one.
    fn type_of(&self, value: &AbiParam, role: Role) -> Result<Type, ClifError> {
        let is_passed = match value.purpose {
            ArgumentPurpose::Normal => true,
            ArgumentPurpose::VMContext => matches!(role, Role::Parameter(_)),
            _ => false,
        };
        if !is_passed {
            return Err(ClifError::Purpose {
                role,
                found: shown(value),
            });
        }
        let Some(plain) = plain_type(value) else {
            return Err(ClifError::Type {
                role,
                found: shown(value),
            });
        };
        let Some((_, declared)) = self.declared.iter().find(|(known, _)| *known == role) else {
            return Ok(plain);
        };
        let differs = matches!(
            (value.extension, is_signed(declared)),
            (ArgumentExtension::Sext, Some(false)) | (ArgumentExtension::Uext, Some(true))
        );
        if differs {
            return Err(ClifError::Extension {
                role,
                found: shown(value),
                ty: declared.clone(),
            });
        }
        Ok(declared.clone())
    }

    /// Compares the place of each value with Cranelift's.
    fn compare(&self, signature: &Signature, abi: Abi) -> Result<(), ClifError> {
        let Some(native) = abi.native_table() else {
            return Ok(());
        };
        let assignment = assign(signature, abi).map_err(|error| self.refused(error))?;
        let params = places::of_params(native, &self.clif.params, self.clif.call_conv);
        let results = places::of_results(native, &self.clif.returns, self.clif.call_conv);
        let params = params
            .into_iter()
            .zip(&assignment.args)
            .zip(&self.clif.params);
        let params = (0..)
            .zip(params)
            .map(|(i, pair)| (Role::Parameter(i), pair));
        let results = results
            .into_iter()
            .zip(&assignment.results)
            .zip(&self.clif.returns);
        let results = (0..).zip(results).map(|(i, pair)| (Role::Result(i), pair));
        for (role, ((found, value), clif)) in params.chain(results) {
            let wanted = places::of_value(value);
            if found != wanted {
                let is_result = matches!(role, Role::Result(_));
                return Err(ClifError::Place {
                    role,
                    clif: clif.to_string(),
                    ty: value.ty.clone(),
                    abi,
                    found: found.text(abi, is_result),
                    wanted: wanted.text(abi, is_result),
                });
            }
        }
        Ok(())
    }

    fn refused(&self, error: AssignError) -> ClifError {
        ClifError::Assign {
            clif: self.clif.to_string(),
            error,
        }
    }
}

/// The convention of this crate's that is Cranelift's `call_conv` on a machine.
///
/// ```
/// use cranelift_codegen::isa::CallConv;
/// use fing_stubs::clif::convention;
/// use fing_stubs::{Abi, Convention};
/// use target_lexicon::triple;
/// # use std::str::FromStr;
///
/// let arm = triple!("aarch64-unknown-linux-gnu");
/// assert_eq!(convention(CallConv::SystemV, &arm)?, Convention::Aapcs64);
/// assert_eq!(
///     convention(CallConv::Fast, &arm).unwrap_err().to_string(),
///     "CLIF signature: call convention fast on aarch64-unknown-linux-gnu, wanted system_v, \
///      apple_aarch64, tail",
/// );
/// # Ok::<(), fing_stubs::clif::ClifError>(())
/// ```
///
/// # Errors
/// There is none. `fast`, `preserve_all`, `winch` and `probestack` have none anywhere; they are
/// Cranelift's to change.
pub fn convention(call_conv: CallConv, target: &Triple) -> Result<Convention, ClifError> {
    let row = arch_of(target).into_iter().flat_map(conventions);
    let row = || row.clone();
    let found = row().find(|(known, _)| *known == call_conv);
    found.map(|(_, convention)| convention).ok_or_else(|| {
        let names: Vec<String> = row().map(|(known, _)| known.to_string()).collect();
        ClifError::Convention {
            found: call_conv,
            target: target.to_string(),
            wanted: match names.is_empty() {
                true => "a machine that this crate has a native convention for".to_owned(),
                false => names.join(", "),
            },
        }
    })
}

/// What Cranelift's conventions are on a machine.
fn conventions(arch: Arch) -> impl Iterator<Item = (CallConv, Convention)> + Clone {
    use CallConv::{AppleAarch64, SystemV, Tail, WindowsFastcall};
    let rows: &[(CallConv, Convention)] = match arch {
        Arch::Amd64 => &[
            (SystemV, Convention::SystemV),
            (WindowsFastcall, Convention::Fastcall),
            (Tail, Convention::TailAmd64),
        ],
        Arch::Arm64 => &[
            (SystemV, Convention::Aapcs64),
            (AppleAarch64, Convention::AppleArm64),
            (Tail, Convention::TailArm64),
        ],
        Arch::Riscv64 => &[
            (SystemV, Convention::Lp64d),
            (Tail, Convention::TailRiscv64),
        ],
        Arch::S390x => &[
            (SystemV, Convention::ElfS390x),
            (Tail, Convention::TailS390x),
        ],
        Arch::Pulley64 => &[(SystemV, Convention::Pulley)],
        Arch::Pulley64Be => &[(SystemV, Convention::PulleyBe)],
        Arch::Ppc64 | Arch::Loong64 => &[],
    };
    rows.iter().copied()
}

/// Cranelift's text of a value, which it has not for all that its types can be.
fn shown(value: &AbiParam) -> String {
    match value.value_type {
        types::INVALID => "types::INVALID".to_owned(),
        _ => value.to_string(),
    }
}

/// The type of a value that nobody has said more of; `None` if there is none.
fn plain_type(value: &AbiParam) -> Option<Type> {
    let signed = value.extension == ArgumentExtension::Sext;
    let ty = value.value_type;
    if ty == types::I128 {
        let ty = if signed {
            CType::Int128
        } else {
            CType::Uint128
        };
        return Type::c(ty).ok();
    }
    if ty.is_vector() {
        // It refuses those of other sizes.
        let element = scalar(ty.lane_type(), signed)?;
        return Type::c(CType::Vector(ty.lane_count().into(), element)).ok();
    }
    scalar(ty, signed)
}

fn scalar(ty: ir::Type, signed: bool) -> Option<Type> {
    Some(match (ty, signed) {
        (types::I8, false) => Type::uint8(),
        (types::I16, false) => Type::uint16(),
        (types::I32, false) => Type::uint32(),
        (types::I64, false) => Type::uint64(),
        (types::I8, true) => Type::int8(),
        (types::I16, true) => Type::int16(),
        (types::I32, true) => Type::int32(),
        (types::I64, true) => Type::int64(),
        (types::F32, _) => Type::float32(),
        (types::F64, _) => Type::float64(),
        _ => return None,
    })
}

/// Whether an integer type has a sign; `None` for what is no integer, and for whole registers,
/// which nothing is extended to.
fn is_signed(ty: &Type) -> Option<bool> {
    match ty.underlying() {
        Kind::Int8 | Kind::Int16 | Kind::Int32 => Some(true),
        Kind::Bool | Kind::Uint8 | Kind::Uint16 | Kind::Uint32 => Some(false),
        _ => None,
    }
}
