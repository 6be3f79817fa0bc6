//! The checks on both devices of this machine; the GPU may be Mesa's software Vulkan.

use std::collections::HashMap;
use std::path::PathBuf;

use vaultlab_engine::device;
use vaultlab_parity::{FAMILIES, GoldenFiles, file_names, run};
use vaultlab_protocol::DeviceChoice;

fn check(choice: DeviceChoice) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../golden");
    let read = |name: String| {
        let bytes =
            std::fs::read(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, bytes)
    };
    let files: HashMap<String, Vec<u8>> = file_names().into_iter().map(read).collect();
    let (open, checks) = pollster::block_on(async {
        let open = device::open(choice).await.expect("the device opens");
        let checks = run(&GoldenFiles(files), &FAMILIES, &open)
            .await
            .expect("the engine runs");
        (open, checks)
    });
    assert!(checks.len() > 80, "only {} checks ran", checks.len());
    let failed: Vec<_> = checks.iter().filter(|check| !check.passed()).collect();
    assert!(failed.is_empty(), "on {}: {failed:#?}", open.report.name);
}

#[test]
fn the_gpu_equals_transformers_and_peft() {
    check(DeviceChoice::Gpu);
}

#[test]
fn the_cpu_equals_transformers_and_peft() {
    check(DeviceChoice::Cpu);
}
