use super::ConfigError;
use super::fields::Fields;

/// How a checkpoint stores its linear layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantization {
    /// bitsandbytes 4-bit NormalFloat.
    BitsAndBytes4(BitsAndBytes4),
}

/// `quantization_config` of a checkpoint saved with bitsandbytes in 4 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitsAndBytes4 {
    /// True if the block scales are quantised too.
    pub double_quantised: bool,
    /// `llm_int8_skip_modules` as written: what the writer left as plain floats. For information;
    /// every tensor says for itself how it is stored.
    pub skipped: Vec<String>,
}

impl Quantization {
    /// Reads `quantization_config` and refuses every scheme but NF4 in bytes.
    pub(super) fn parse(outer: Fields) -> Result<Option<Self>, ConfigError> {
        let Some(object) = outer.object("quantization_config")? else {
            return Ok(None);
        };
        let fields = Fields::new(object, "quantization_config");
        let refuse = |key: &str, value: &str, advice| ConfigError::Unsupported {
            key: fields.key(key),
            value: value.to_owned(),
            advice,
        };
        match fields
            .text("quant_method")?
            .ok_or_else(|| fields.missing("quant_method"))?
        {
            "bitsandbytes" => {}
            other => {
                return Err(refuse(
                    "quant_method",
                    other,
                    "use bitsandbytes NF4 or plain weights",
                ));
            }
        }
        if fields.flag("load_in_4bit")? != Some(true) {
            return Err(refuse(
                "load_in_4bit",
                "false",
                "8-bit checkpoints are not supported",
            ));
        }
        match fields
            .text("bnb_4bit_quant_type")?
            .ok_or_else(|| fields.missing("bnb_4bit_quant_type"))?
        {
            "nf4" => {}
            other => return Err(refuse("bnb_4bit_quant_type", other, "use nf4")),
        }
        if let Some(storage) = fields.text("bnb_4bit_quant_storage")?
            && storage != "uint8"
        {
            return Err(refuse("bnb_4bit_quant_storage", storage, "use uint8"));
        }
        let double_quantised = fields
            .flag("bnb_4bit_use_double_quant")?
            .ok_or_else(|| fields.missing("bnb_4bit_use_double_quant"))?;
        let mut skipped = Vec::new();
        for entry in fields.list("llm_int8_skip_modules")?.unwrap_or_default() {
            let name = entry.as_str().filter(|name| !name.is_empty());
            skipped.push(
                name.ok_or(ConfigError::WrongType {
                    key: fields.key("llm_int8_skip_modules"),
                    expected: "a list of module names",
                })?
                .to_owned(),
            );
        }
        Ok(Some(Self::BitsAndBytes4(BitsAndBytes4 {
            double_quantised,
            skipped,
        })))
    }
}
