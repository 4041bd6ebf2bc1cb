//! Images in registries, for bases: what hubs that are registries give, read without a store.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use format::Digest;
use hub::{BlobReader, Registry, Selector};
use rootfs::RegistryImage;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;

use crate::error::CliError;
use crate::hubs;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Registries as `docker://` names them: by their hosts, with the credentials and certificates of hubs.
#[derive(Debug)]
pub(crate) struct Registries {
    runtime: Arc<Runtime>,
    /// Those that were asked before, with the tokens that they gave.
    known: Mutex<BTreeMap<String, Arc<dyn Registry>>>,
}

impl Registries {
    pub(crate) fn new() -> Result<Self, CliError> {
        // Not one of this thread alone: what is under way goes on while a layer is unpacked.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime
            .map_err(|source| CliError::Io { what: "start the threads of a transfer".into(), source })?;
        Ok(Self { runtime: Arc::new(runtime), known: Mutex::default() })
    }

    /// The registry of an image.
    fn of(&self, image: &RegistryImage) -> Result<Arc<dyn Registry>, Failure> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = known.get(image.host.as_str()) {
            return Ok(Arc::clone(registry));
        }
        let location = hub::HubLocation::of_name(&image.host)
            .ok_or_else(|| format!("{} is not the host of a registry", image.host))?;
        let registry = hub::open(&location, &hubs::access()?)?;
        known.insert(image.host.to_string(), Arc::clone(&registry));
        Ok(registry)
    }
}

impl rootfs::Registries for Registries {
    fn manifest(&self, image: &RegistryImage, digest: Option<&Digest>) -> Result<Option<Vec<u8>>, Failure> {
        let which =
            digest.map_or_else(|| Selector::Tag(image.tag.clone()), |digest| Selector::Digest(*digest));
        let manifest = self.runtime.block_on(self.of(image)?.get_manifest(&image.name, &which))?;
        Ok(manifest.map(|manifest| manifest.bytes().to_vec()))
    }

    fn blob(
        &self,
        image: &RegistryImage,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Box<dyn Read>>, Failure> {
        let blob = self.runtime.block_on(self.of(image)?.get_blob(&image.name, digest, 0..size))?;
        let runtime = Arc::clone(&self.runtime);
        Ok(blob.map(|reader| Box::new(Blocking { runtime, reader }) as Box<dyn Read>))
    }
}

/// Reads a blob as it arrives.
struct Blocking {
    runtime: Arc<Runtime>,
    reader: BlobReader,
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.reader.read(buffer))
    }
}
