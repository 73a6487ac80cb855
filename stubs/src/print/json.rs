//! Assignments as JSON. Feature `explain`.
#![forbid(unsafe_code)]

use serde_json::{Map, Value as Json, json};

use crate::abi::RegClass;
use crate::assign::{Assignment, Piece, Place, Value};
use crate::signature::Signature;

impl Assignment {
    /// The assignment as a JSON object: the schema of `tests/vectors/arch.jsonl`, field for field.
    /// `sig` is the signature the assignment was made of; its text goes into the object.
    ///
    /// Native assignments add `hidden_result` and per value `hidden`; their pieces add `reg_off`
    /// where it is not 0.
    pub fn to_json(&self, id: &str, sig: &Signature) -> Json {
        let mut line = Map::new();
        line.insert("id".into(), json!(id));
        line.insert("arch".into(), json!(self.abi.arch().name()));
        line.insert("sig".into(), json!(sig.to_string()));
        if sig.receiver().is_some() {
            line.insert("method".into(), json!(true));
        }
        line.insert("int_regs".into(), json!(self.abi.int_regs()));
        line.insert("float_regs".into(), json!(self.abi.float_regs()));
        line.insert("sp_bias".into(), json!(self.argument_base()));
        let args = self
            .args
            .iter()
            .map(|value| self.json_value(value, Assignment::arg_register));
        line.insert("in".into(), args.collect());
        let results = self
            .results
            .iter()
            .map(|value| self.json_value(value, Assignment::result_register));
        line.insert("out".into(), results.collect());
        if let Some(size) = self.hidden_result {
            line.insert("hidden_result".into(), json!(size));
        }
        let numbers = [
            ("int_in", self.int_in as u64),
            ("float_in", self.float_in as u64),
            ("int_out", self.int_out as u64),
            ("float_out", self.float_out as u64),
            ("args_end", self.args_end),
            ("results_off", self.results_off),
            ("results_end", self.results_end),
            ("spill_off", self.spill_off),
            ("spill_size", self.spill_size),
            ("frame_size", self.frame_size),
        ];
        line.extend(numbers.map(|(name, number)| (name.to_string(), json!(number))));
        Json::Object(line)
    }

    fn json_value(
        &self,
        value: &Value,
        name: fn(&Assignment, RegClass, usize) -> &'static str,
    ) -> Json {
        let mut object = Map::new();
        object.insert("type".into(), json!(value.ty.to_string()));
        object.insert("size".into(), json!(value.size));
        object.insert("align".into(), json!(value.align));
        match &value.place {
            Place::Stack { offset } => {
                object.insert("stack".into(), json!(offset));
            }
            Place::Hidden { offset } => {
                object.insert("hidden".into(), json!(offset));
            }
            Place::Split { piece, offset } => {
                let register = name(self, piece.class, piece.index);
                object.insert("regs".into(), json!([json_piece(piece, register)]));
                object.insert("stack".into(), json!(offset));
            }
            Place::Reference { pointer, copy } => {
                object.insert("copy".into(), json!(copy));
                match &**pointer {
                    Place::Stack { offset } => object.insert("stack".into(), json!(offset)),
                    place => {
                        let pieces = place.pieces().iter();
                        let names = pieces.map(|piece| name(self, piece.class, piece.index));
                        object.insert("pointer".into(), names.collect())
                    }
                };
            }
            Place::Regs { pieces, spill } => {
                let piece = |piece: &Piece| json_piece(piece, name(self, piece.class, piece.index));
                object.insert("regs".into(), pieces.iter().map(piece).collect());
                if let Some(spill) = spill {
                    object.insert("spill".into(), json!(spill));
                }
            }
        }
        Json::Object(object)
    }
}

fn json_piece(piece: &Piece, name: &str) -> Json {
    let mut object = Map::new();
    object.insert("class".into(), json!(piece.class.to_string()));
    object.insert("index".into(), json!(piece.index));
    object.insert("name".into(), json!(name));
    object.insert("off".into(), json!(piece.off));
    object.insert("size".into(), json!(piece.size));
    if piece.reg_off != 0 {
        object.insert("reg_off".into(), json!(piece.reg_off));
    }
    // The alternate form is how the compiler writes types; the vectors' own text is compact.
    object.insert("kind".into(), json!(format!("{:#}", piece.kind)));
    Json::Object(object)
}
