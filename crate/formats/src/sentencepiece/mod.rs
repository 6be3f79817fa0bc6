//! SentencePiece vocabularies (`tokenizer.model`, or the one inside a GGUF file) as
//! `tokenizer.json` in Gemma's structure.
//!
//! SentencePiece's BPE joins the neighbouring pair whose union has the highest score. The `tokenizers`
//! crate wants the pairs in order instead, so every split of every piece into two pieces becomes a
//! merge, sorted by the score of the union, as transformers' `GemmaConverter` does.

mod convert;
mod error;
mod protobuf;

pub use error::VocabularyError;

use std::collections::HashMap;

/// What a piece is for (`SentencePiece.Type` in `sentencepiece_model.proto`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Learnt text.
    Normal,
    /// Stands for what no piece covers.
    Unknown,
    /// Never met in text, such as BOS.
    Control,
    /// Text that is always one token.
    UserDefined,
    /// Reserved.
    Unused,
    /// One byte, spelled `<0x0A>`.
    Byte,
}

impl PieceKind {
    /// The kind with this number; GGUF files use the same ones.
    pub fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// One entry of a vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Its text, with `▁` for a space.
    pub text: String,
    /// Its score; of two pairs, the one whose union has the higher score is joined first.
    pub score: f32,
    /// What it is for.
    pub kind: PieceKind,
}

/// A vocabulary with byte fallback, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    pieces: Vec<Piece>,
}

/// Longest piece in bytes; SentencePiece's own limit is far lower, and finding merges is quadratic.
const MAX_PIECE: usize = 512;
/// Most pieces.
const MAX_PIECES: usize = 1 << 20;
/// Most bytes of all pieces, each times its own length; Gemma's vocabularies need about 2^25.
const MAX_WORK: usize = 1 << 30;
/// Most merges; Gemma's vocabularies have about 580,000.
const MAX_MERGES: usize = 1 << 21;

impl Vocabulary {
    /// Takes the pieces by id.
    ///
    /// # Errors
    /// [`VocabularyError`] for duplicates, missing byte pieces, no `<bos>` or unknown piece, and
    /// scores that are not numbers.
    pub fn new(pieces: Vec<Piece>) -> Result<Self, VocabularyError> {
        // Looking for merges hashes both halves of every split.
        let work: usize = pieces.iter().map(|p| p.text.len().saturating_pow(2)).sum();
        if pieces.len() > MAX_PIECES || work > MAX_WORK {
            return Err(VocabularyError::TooMany {
                pieces: pieces.len(),
                bytes: pieces.iter().map(|p| p.text.len()).sum(),
            });
        }
        let mut ids = HashMap::with_capacity(pieces.len());
        let mut bytes = 0;
        for (id, piece) in pieces.iter().enumerate() {
            let wrong = |problem| VocabularyError::BadPiece { id, problem };
            if piece.text.is_empty() {
                return Err(wrong("is empty"));
            }
            if piece.text.len() > MAX_PIECE {
                return Err(wrong("is longer than 512 bytes"));
            }
            if !piece.score.is_finite() {
                return Err(wrong("has no finite score"));
            }
            if ids.insert(piece.text.as_str(), id).is_some() {
                return Err(wrong("stands twice"));
            }
            bytes += usize::from(piece.kind == PieceKind::Byte);
        }
        if bytes != 256 || !(0..=255u8).all(|b| ids.contains_key(format!("<0x{b:02X}>").as_str())) {
            return Err(VocabularyError::NoByteFallback { bytes });
        }
        for name in ["<bos>", "<unk>"] {
            if !ids.contains_key(name) {
                return Err(VocabularyError::Missing { name });
            }
        }
        Ok(Self { pieces })
    }

    /// Reads `tokenizer.model`.
    ///
    /// # Errors
    /// [`VocabularyError`] for damage, and for models other than BPE with byte fallback and without
    /// normalisation, which is what every Gemma model has.
    pub fn parse(bytes: &[u8]) -> Result<Self, VocabularyError> {
        let model = protobuf::Model::parse(bytes)?;
        model.refuse_other_than_gemma()?;
        Self::new(model.pieces)
    }

    /// The pieces by id.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}
