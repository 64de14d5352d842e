//! The unary methods of the API of the record; see [`methods`](super::methods).

#[allow(clippy::wildcard_imports, reason = "the tables below name all of them")]
use greffe_api::record_api::v1::*;

use super::methods::Method;
use super::operator_methods::{calls, changes};

changes! {
    "greffe.record.v1"
    CaseService {
        OpenCase: OpenCaseRequest => OpenCaseResponse,
        ApproveCase: ApproveCaseRequest => ApproveCaseResponse,
        CloseCase: CloseCaseRequest => CloseCaseResponse,
        ReadCase: ReadCaseRequest => ReadCaseResponse,
    }
    HoldService {
        AddHold: AddHoldRequest => AddHoldResponse,
        ReleaseHold: ReleaseHoldRequest => ReleaseHoldResponse,
    }
    ErasureService {
        Erase: EraseRequest => EraseResponse,
        SetRetention: SetRetentionRequest => SetRetentionResponse,
    }
    ExportService {
        OrderExport: OrderExportRequest => OrderExportResponse,
    }
    CheckpointService {
        RotateKey: RotateKeyRequest => RotateKeyResponse,
    }
}

calls! {
    "greffe.record.v1" true
    CaseService {
        ListCases: ListCasesRequest => ListCasesResponse,
        GetCase: GetCaseRequest => GetCaseResponse,
    }
    HoldService {
        ListHolds: ListHoldsRequest => ListHoldsResponse,
    }
    ErasureService {
        GetErasure: GetErasureRequest => GetErasureResponse,
        ListErasures: ListErasuresRequest => ListErasuresResponse,
        GetRetention: GetRetentionRequest => GetRetentionResponse,
    }
    CheckpointService {
        GetCheckpoint: GetCheckpointRequest => GetCheckpointResponse,
        GetConsistencyProof: GetConsistencyProofRequest => GetConsistencyProofResponse,
        ListKeys: ListKeysRequest => ListKeysResponse,
    }
}
