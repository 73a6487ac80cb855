//! A native callee, by its own convention: hidden result pointer, arguments in registers, the rest
//! in the frame.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::{
    AbiParam, ArgumentPurpose, InstBuilder, Signature, Type, Value, types,
};
use cranelift_codegen::isa::CallConv;

use super::{CallBuilder, ResultRegisters};
use crate::RegClass;
use crate::key::{Move, ResultSource, Source, Target};
use crate::record::CODE_OFFSET;

/// An argument that Cranelift places: its type and value.
type Argument = (Type, Value);

impl CallBuilder<'_, '_> {
    pub(super) fn call_native(&mut self, convention: CallConv) -> ResultRegisters {
        let code = self.load_word(CODE_OFFSET);
        let mut signature = Signature::new(convention);
        let mut arguments = Vec::new();
        if let Some(slot) = self.hidden {
            // `tail` has no rule for it; there it is an argument like any other.
            let purpose = if convention == CallConv::Tail {
                ArgumentPurpose::Normal
            } else {
                ArgumentPurpose::StructReturn
            };
            signature
                .params
                .push(AbiParam::special(types::I64, purpose));
            arguments.push(self.builder.ins().stack_addr(types::I64, slot, 0));
        }
        for (ty, value) in self.register_arguments() {
            signature.params.push(AbiParam::new(ty));
            arguments.push(value);
        }
        let (ints, floats) = (
            self.key.result_registers(RegClass::Int),
            self.key.result_registers(RegClass::Float),
        );
        let int_types = (0..ints).map(|_| types::I64);
        let float_types = (0..floats).map(|n| self.float_result_type(n));
        signature.returns = int_types.chain(float_types).map(AbiParam::new).collect();
        let signature = self.builder.import_signature(signature);
        let call = match self.save {
            None => self
                .builder
                .ins()
                .call_indirect(signature, code, &arguments),
            Some(slot) => {
                self.stack_store(code, slot, 0);
                let veneer = self.veneer(signature);
                self.builder.ins().call(veneer, &arguments)
            }
        };
        let values = self.builder.inst_results(call);
        ResultRegisters::Values {
            ints: values[..usize::from(ints)].to_vec(),
            floats: values[usize::from(ints)..].to_vec(),
        }
    }

    /// The arguments in registers, in an order that leads Cranelift to the registers the key names,
    /// and then those that Cranelift puts on the stack itself, because the callee takes them off.
    fn register_arguments(&mut self) -> Vec<Argument> {
        let ints = self.int_moves();
        let floats = self.key.register_moves(RegClass::Float);
        let Some(table) = self.key.abi().native_table() else {
            return Vec::new();
        };
        let doubled = self.key.doubled();
        let ints = self.without_gaps(ints, &doubled);
        let ints_full = ints.len() + usize::from(self.hidden.is_some()) >= table.int_args.len();
        let mut moves: Vec<Move> = ints.into_iter().chain(floats).collect();
        if table.positional {
            moves.sort_by_key(|m| match m.to {
                Target::Int(n) | Target::Float(n) => n,
                Target::Frame(_) | Target::Word(_) => u8::MAX,
            });
        }
        let mut arguments = Vec::new();
        for m in moves {
            arguments.push(match m.to {
                Target::Float(_) => self.float_argument(m),
                _ => (types::I64, self.word(m)),
            });
        }
        if table.callee_pops {
            let mut words: Vec<Move> = self.key.moves();
            words.retain(|m| matches!(m.to, Target::Word(_)));
            words.sort_by_key(|m| m.to);
            for m in words {
                // An integer is on the stack only if no integer register is left; then a float may
                // be passed as one.
                arguments.push(if ints_full {
                    (types::I64, self.word(m))
                } else {
                    self.float_argument(m)
                });
            }
        }
        arguments
    }

    /// The moves with others between them that fill the registers which a pair has left out, and
    /// without those that the veneer makes. What fills a register is the context: any word will do.
    fn without_gaps(&self, moves: Vec<Move>, doubled: &[u8]) -> Vec<Move> {
        let hidden = self.hidden.is_some() && self.key.abi().takes_hidden_argument();
        let mut next = u8::from(hidden);
        let positional = self
            .key
            .abi()
            .native_table()
            .is_some_and(|table| table.positional);
        let mut all = Vec::new();
        for m in moves {
            let Target::Int(n) = m.to else { continue };
            if doubled.contains(&n) {
                continue;
            }
            while next < n && !positional {
                all.push(Move {
                    source: Source::Context,
                    to: Target::Int(next),
                });
                next += 1;
            }
            all.push(m);
            next = n + 1;
        }
        all
    }

    fn float_argument(&mut self, m: Move) -> Argument {
        let value = self.float(m);
        (self.builder.func.dfg.value_type(value), value)
    }

    /// F32 where a result register holds a lone `float32`, else all its 64 bits.
    fn float_result_type(&self, register: u8) -> Type {
        let results = self.key.results();
        let mut parts = results
            .iter()
            .filter(|m| matches!(m.from, ResultSource::Float(n, _) if n == register));
        match (parts.next(), parts.next()) {
            (Some(m), None) if m.from == ResultSource::Float(register, 0) => match m.size {
                4 => types::F32,
                16 => types::I8X16,
                _ => types::F64,
            },
            _ => types::F64,
        }
    }
}
