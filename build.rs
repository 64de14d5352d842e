//! Compiles `proto/` into Rust without `protoc`, and writes the descriptor set that reflection serves.

use std::path::{Path, PathBuf};

use prost::Message as _;

/// Responses that the server makes of bytes that are encoded already; see `encoded.rs`.
const ENCODED: [&str; 3] = [
    ".greffe.v1.ChatResponse",
    ".greffe.v1.SubscribeResponse",
    ".greffe.v1.ListEventsResponse",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);

    let mut files = Vec::new();
    find_protos(Path::new("proto/greffe"), &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let descriptors = compiler.file_descriptor_set();

    // Reflection sends descriptors to clients, who have no use for the positions and comments.
    let mut bare = descriptors.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    std::fs::write(out.join("greffe.fds.bin"), bare.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .compile_fds(descriptors.clone())?;

    // The services' traits, over the same messages, but with the bytes of the hot path passed through.
    let server_out = out.join("server");
    std::fs::create_dir_all(&server_out)?;
    let mut server = tonic_prost_build::configure()
        .build_client(false)
        .codec_path("crate::codec::ServerCodec")
        .out_dir(server_out)
        .extern_path(".greffe.v1", "crate::v1")
        .extern_path(".greffe.admin.v1", "crate::admin::v1")
        .extern_path(".greffe.record.v1", "crate::record_api::v1");
    for message in ENCODED {
        server = server.extern_path(message, "crate::encoded::Encoded");
    }
    server.compile_fds(descriptors)?;
    Ok(())
}

/// Collects every `.proto` file below `dir`.
fn find_protos(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}
