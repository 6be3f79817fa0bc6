//! The few fields of `sentencepiece_model.proto` that matter, read from the protobuf wire format.
//!
//! Field numbers: ModelProto { 1 pieces, 2 trainer_spec, 3 normalizer_spec }; SentencePiece { 1 piece,
//! 2 score, 3 type }; TrainerSpec { 3 model_type, 24 treat_whitespace_as_suffix, 35 byte_fallback };
//! NormalizerSpec { 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces,
//! 5 escape_whitespaces }. Everything else is passed over.

use super::{Piece, PieceKind, VocabularyError};

/// What `tokenizer.model` says.
pub(super) struct Model {
    pub(super) pieces: Vec<Piece>,
    /// 1 unigram, 2 BPE, 3 word, 4 char.
    model_type: u64,
    byte_fallback: bool,
    whitespace_as_suffix: bool,
    charsmap: bool,
    dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    escape_whitespaces: bool,
}

impl Model {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, VocabularyError> {
        // The values the .proto file gives for fields that are not written.
        let mut model = Self {
            pieces: Vec::new(),
            model_type: 1,
            byte_fallback: false,
            whitespace_as_suffix: false,
            charsmap: false,
            dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        let mut message = Message::new(bytes, 0);
        while let Some((field, value)) = message.next()? {
            match (field, value) {
                (1, Value::Bytes(bytes, at)) => model.pieces.push(piece(Message::new(bytes, at))?),
                (2, Value::Bytes(bytes, at)) => model.trainer(Message::new(bytes, at))?,
                (3, Value::Bytes(bytes, at)) => model.normalizer(Message::new(bytes, at))?,
                _ => {}
            }
        }
        Ok(model)
    }

    fn trainer(&mut self, mut message: Message) -> Result<(), VocabularyError> {
        while let Some((field, value)) = message.next()? {
            match (field, value) {
                (3, Value::Varint(n)) => self.model_type = n,
                (24, Value::Varint(n)) => self.whitespace_as_suffix = n != 0,
                (35, Value::Varint(n)) => self.byte_fallback = n != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn normalizer(&mut self, mut message: Message) -> Result<(), VocabularyError> {
        while let Some((field, value)) = message.next()? {
            match (field, value) {
                (2, Value::Bytes(map, _)) => self.charsmap = !map.is_empty(),
                (3, Value::Varint(n)) => self.dummy_prefix = n != 0,
                (4, Value::Varint(n)) => self.remove_extra_whitespaces = n != 0,
                (5, Value::Varint(n)) => self.escape_whitespaces = n != 0,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn refuse_other_than_gemma(&self) -> Result<(), VocabularyError> {
        let kind = match self.model_type {
            2 => None,
            1 => Some("a unigram model"),
            3 => Some("a word model"),
            4 => Some("a character model"),
            _ => Some("an unknown model type"),
        };
        let problem = if let Some(kind) = kind {
            Some((kind, "Gemma tokenizers are BPE"))
        } else if !self.byte_fallback {
            Some(("no byte fallback", "Gemma tokenizers have it"))
        } else if self.charsmap {
            Some((
                "a normalisation table",
                "Gemma tokenizers take text as it is",
            ))
        } else if self.dummy_prefix {
            Some((
                "a space added in front",
                "Gemma tokenizers take text as it is",
            ))
        } else if self.remove_extra_whitespaces {
            Some((
                "removal of extra spaces",
                "Gemma tokenizers take text as it is",
            ))
        } else if !self.escape_whitespaces || self.whitespace_as_suffix {
            Some((
                "another treatment of spaces",
                "Gemma tokenizers write a space as ▁ in front",
            ))
        } else {
            None
        };
        match problem {
            None => Ok(()),
            Some((setting, expected)) => Err(VocabularyError::Unsupported {
                setting: setting.to_owned(),
                expected,
            }),
        }
    }
}

fn piece(mut message: Message) -> Result<Piece, VocabularyError> {
    let start = message.offset();
    let damaged = |detail| VocabularyError::Damaged {
        offset: start,
        detail,
    };
    let mut piece = Piece {
        text: String::new(),
        score: 0.0,
        kind: PieceKind::Normal,
    };
    while let Some((field, value)) = message.next()? {
        match (field, value) {
            (1, Value::Bytes(bytes, _)) => {
                piece.text = std::str::from_utf8(bytes)
                    .map_err(|_| damaged("a piece is not UTF-8"))?
                    .to_owned();
            }
            (2, Value::Fixed32(bits)) => piece.score = f32::from_bits(bits),
            (3, Value::Varint(n)) => {
                piece.kind = i64::try_from(n)
                    .ok()
                    .and_then(PieceKind::from_number)
                    .ok_or_else(|| damaged("a piece of an unknown kind"))?;
            }
            _ => {}
        }
    }
    Ok(piece)
}

/// A field's value on the wire.
enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    /// Length-delimited, with its offset in the file.
    Bytes(&'a [u8], usize),
}

/// Reads the fields of one message in order.
struct Message<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset of `bytes` in the file.
    base: usize,
}

impl<'a> Message<'a> {
    fn new(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes, at: 0, base }
    }

    fn offset(&self) -> usize {
        self.base + self.at
    }

    fn damaged(&self, detail: &'static str) -> VocabularyError {
        VocabularyError::Damaged {
            offset: self.offset(),
            detail,
        }
    }

    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, VocabularyError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let at = self.offset();
                Value::Bytes(self.take(length)?, at)
            }
            5 => {
                let mut bits = [0; 4];
                bits.copy_from_slice(self.take(4)?);
                Value::Fixed32(u32::from_le_bytes(bits))
            }
            _ => return Err(self.damaged("a field of an unknown wire type")),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], VocabularyError> {
        let rest = &self.bytes[self.at..];
        let taken = rest
            .get(..length)
            .ok_or_else(|| self.damaged("a field goes beyond its message"))?;
        self.at += length;
        Ok(taken)
    }

    /// Seven bits a byte, the lowest first; ten bytes at most.
    fn varint(&mut self) -> Result<u64, VocabularyError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(self.damaged("a number of more than 64 bits"))
    }
}
