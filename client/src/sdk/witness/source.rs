//! Where checkpoints, keys and proofs come from: the members' services or the operators'.

use greffe_api::record::tree::Hash;
use greffe_api::record_api::v1 as record;
use greffe_api::v1::{self as api, RecordKey, Restoration};

use super::super::client::Client;
use super::super::error::Error;
use super::super::operator::Operator;

/// What a server says of its journal; it may be lies.
pub(super) trait Source {
    /// The newest checkpoint.
    fn checkpoint(&self) -> impl Future<Output = Result<String, Error>> + Send;
    /// Keys and restores, oldest first.
    fn keys(&self) -> impl Future<Output = Result<(Vec<RecordKey>, Vec<Restoration>), Error>> + Send;
    /// The proof that the tree of `new` rows goes on from that of `old`.
    fn consistency(&self, old: u64, new: u64) -> impl Future<Output = Result<Vec<Hash>, Error>> + Send;
}

fn size(size: u64) -> Result<i64, Error> {
    i64::try_from(size).map_err(|_| Error::malformed("a size that a journal can have"))
}

fn hashes(hashes: &[bytes::Bytes]) -> Result<Vec<Hash>, Error> {
    let hash = |hash: &bytes::Bytes| Hash::try_from(&hash[..]).map_err(|_| Error::malformed("hashes of 32 bytes"));
    hashes.iter().map(hash).collect()
}

impl Source for Client {
    async fn checkpoint(&self) -> Result<String, Error> {
        Ok(self.call(api::GetCheckpointRequest {}).await?.checkpoint)
    }

    async fn keys(&self) -> Result<(Vec<RecordKey>, Vec<Restoration>), Error> {
        let api::ListKeysResponse { keys, restorations } = self.call(api::ListKeysRequest {}).await?;
        Ok((keys, restorations))
    }

    async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        let request = api::GetConsistencyProofRequest {
            old_size: size(old)?,
            new_size: size(new)?,
        };
        hashes(&self.call(request).await?.hashes)
    }
}

impl Source for Operator {
    async fn checkpoint(&self) -> Result<String, Error> {
        Ok(self.call(record::GetCheckpointRequest {}).await?.checkpoint)
    }

    async fn keys(&self) -> Result<(Vec<RecordKey>, Vec<Restoration>), Error> {
        let record::ListKeysResponse { keys, restorations } = self.call(record::ListKeysRequest {}).await?;
        Ok((keys, restorations))
    }

    async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        let request = record::GetConsistencyProofRequest {
            old_size: size(old)?,
            new_size: size(new)?,
        };
        hashes(&self.call(request).await?.hashes)
    }
}
