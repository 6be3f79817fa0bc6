//! Rotary position embedding settings, in both key styles.

use super::fields::Fields;
use super::{AttentionKind, ConfigError, Family};

/// Rotary position embedding of one layer (RoFormer, Su et al. 2021; rotate-half over the head).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Base θ of the inverse frequencies θ^(-2i/d).
    pub theta: f64,
    /// Positions are divided by this before use (`rope_type: "linear"`); 1 for none.
    pub linear_factor: f64,
}

/// RoPE for full-attention and sliding-attention layers.
pub(super) struct RopePair {
    full: Rope,
    /// `None` if the file gives none; an error only when a sliding layer needs it.
    sliding: Option<Rope>,
    sliding_key: &'static str,
}

impl RopePair {
    pub(super) fn parse(fields: Fields, family: Family) -> Result<Self, ConfigError> {
        match fields.object("rope_parameters")? {
            Some(parameters) => {
                let pair = Self::version_5(parameters, family)?;
                pair.agrees_with_flat_keys(fields)?;
                Ok(pair)
            }
            None => Self::version_4(fields, family),
        }
    }

    /// transformers 5: `rope_parameters`, either flat or one object per attention kind.
    fn version_5(
        parameters: &serde_json::Map<String, serde_json::Value>,
        family: Family,
    ) -> Result<Self, ConfigError> {
        const SLIDING: &str = "rope_parameters.sliding_attention";
        let outer = Fields::new(parameters, "rope_parameters");
        if !outer.has("full_attention") && !outer.has("sliding_attention") {
            let rope = rope(outer, None)?;
            // Gemma 3 rotates its local layers with another base, so one flat base is not enough.
            let sliding = (family != Family::Gemma3).then_some(rope);
            return Ok(Self {
                full: rope,
                sliding,
                sliding_key: SLIDING,
            });
        }
        let full = outer
            .object("full_attention")?
            .ok_or_else(|| outer.missing("full_attention"))?;
        let full = rope(Fields::new(full, "rope_parameters.full_attention"), None)?;
        let sliding = outer
            .object("sliding_attention")?
            .map(|object| rope(Fields::new(object, SLIDING), None))
            .transpose()?;
        Ok(Self {
            full,
            sliding,
            sliding_key: SLIDING,
        })
    }

    /// transformers 4: `rope_theta`, `rope_scaling`, and for Gemma 3 `rope_local_base_freq`.
    fn version_4(fields: Fields, family: Family) -> Result<Self, ConfigError> {
        let theta = fields.need_positive("rope_theta")?;
        let full = match fields.object("rope_scaling")? {
            Some(scaling) => rope(Fields::new(scaling, "rope_scaling"), Some(theta))?,
            None => Rope {
                theta,
                linear_factor: 1.0,
            },
        };
        let (sliding, sliding_key) = if family == Family::Gemma3 {
            // Only the global layers are scaled (Gemma 3 report, section 2).
            let local = fields.positive("rope_local_base_freq")?;
            (
                local.map(|theta| Rope {
                    theta,
                    linear_factor: 1.0,
                }),
                "rope_local_base_freq",
            )
        } else {
            (Some(full), "rope_theta")
        };
        Ok(Self {
            full,
            sliding,
            sliding_key,
        })
    }

    /// A file may carry both styles; then they must say the same.
    fn agrees_with_flat_keys(&self, fields: Fields) -> Result<(), ConfigError> {
        let differs = |key: &str, other: &str, a: f64, b: f64| ConfigError::Contradiction {
            first: fields.key(key),
            second: fields.key(other),
            detail: format!("{a} and {b}"),
        };
        if let Some(theta) = fields.positive("rope_theta")?
            && theta != self.full.theta
        {
            return Err(differs(
                "rope_theta",
                "rope_parameters",
                theta,
                self.full.theta,
            ));
        }
        if let (Some(theta), Some(sliding)) =
            (fields.positive("rope_local_base_freq")?, self.sliding)
            && theta != sliding.theta
        {
            return Err(differs(
                "rope_local_base_freq",
                "rope_parameters",
                theta,
                sliding.theta,
            ));
        }
        Ok(())
    }

    pub(super) fn of(&self, kind: AttentionKind) -> Result<Rope, ConfigError> {
        match kind {
            AttentionKind::Full => Ok(self.full),
            AttentionKind::Sliding { .. } => self.sliding.ok_or_else(|| ConfigError::Missing {
                key: self.sliding_key.to_owned(),
            }),
        }
    }
}

/// One RoPE object; `outer_theta` is the v4 `rope_theta` that stands beside it.
fn rope(fields: Fields, outer_theta: Option<f64>) -> Result<Rope, ConfigError> {
    let theta = match outer_theta {
        Some(theta) => theta,
        None => fields.need_positive("rope_theta")?,
    };
    if let Some(share) = fields.positive("partial_rotary_factor")?
        && share != 1.0
    {
        return Err(ConfigError::Unsupported {
            key: fields.key("partial_rotary_factor"),
            value: share.to_string(),
            advice: "Gemma models rotate the whole head",
        });
    }
    let kind = match fields.text("rope_type")? {
        Some(kind) => Some(kind),
        None => fields.text("type")?,
    };
    let linear_factor = match kind {
        Some("default") => 1.0,
        Some("linear") => fields.need_positive("factor")?,
        Some(other) => {
            return Err(ConfigError::Unsupported {
                key: fields.key("rope_type"),
                value: other.to_owned(),
                advice: "use a model with default or linear RoPE",
            });
        }
        None => return Err(fields.missing("rope_type")),
    };
    Ok(Rope {
        theta,
        linear_factor,
    })
}
