#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vaultlab_formats_fuzz::gguf(data));
