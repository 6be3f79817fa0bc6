//! Every generated kernel variant is valid WGSL for naga, and is written out so that Tint can be asked too.

use std::{fs, path::PathBuf};

use naga::valid::{Capabilities, ValidationFlags, Validator};

#[test]
fn every_variant_is_valid_wgsl() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/wgsl");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("target/ is writable");
    let sources = vaultlab_engine::kernels::all_sources();
    assert!(sources.len() > 20, "the variants are listed");
    for (name, source) in sources {
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
        // `unpack2x16float` is in every WebGPU; naga counts it as an extra because old OpenGL lacks it.
        let capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        Validator::new(ValidationFlags::all(), capabilities)
            .validate(&module)
            .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
        fs::write(folder.join(format!("{name}.wgsl")), source).expect("target/wgsl is writable");
    }
}
