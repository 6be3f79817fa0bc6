use thiserror::Error;

/// Why a SentencePiece vocabulary cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VocabularyError {
    /// The protobuf message is damaged.
    #[error("tokenizer.model is damaged at byte {offset}: {detail}; download it again")]
    Damaged {
        /// Where.
        offset: usize,
        /// What is wrong.
        detail: &'static str,
    },
    /// A tokenizer that works in another way than Gemma's.
    #[error("tokenizer.model: {setting} is not supported; {expected}")]
    Unsupported {
        /// The setting and its value.
        setting: String,
        /// What every Gemma tokenizer has.
        expected: &'static str,
    },
    /// A piece that cannot be.
    #[error("piece {id} of the vocabulary {problem}; the file is damaged")]
    BadPiece {
        /// Its id.
        id: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not all 256 byte pieces are there.
    #[error("the vocabulary has {bytes} byte pieces where byte fallback needs 256")]
    NoByteFallback {
        /// How many it has.
        bytes: usize,
    },
    /// A piece that Gemma's structure names.
    #[error("the vocabulary has no {name}; it is not a Gemma tokenizer")]
    Missing {
        /// The piece.
        name: &'static str,
    },
    /// Pieces that can be joined in implausibly many ways.
    #[error("the vocabulary has more than {limit} merges; no Gemma tokenizer has so many")]
    TooManyMerges {
        /// Most merges.
        limit: usize,
    },
    /// Implausibly many pieces.
    #[error("a vocabulary of {pieces} pieces and {bytes} bytes is too large")]
    TooMany {
        /// How many.
        pieces: usize,
        /// Bytes of all of them.
        bytes: usize,
    },
}
