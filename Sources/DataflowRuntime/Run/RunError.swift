import DataflowCheckpoint
import DataflowOperator

/// An operator's error together with the node that it happened in.
public struct NodeFailure: Error, Sendable, CustomStringConvertible {
    public var node: String
    public var subtask: Int
    public var error: OperatorError

    public init(node: String, subtask: Int, error: OperatorError) {
        self.node = node
        self.subtask = subtask
        self.error = error
    }

    public var description: String { "node '\(node)': \(error.message) [\(error.code.rawValue)]" }
}

/// Why a run has ended without success.
public struct RunError: Error, Sendable, CustomStringConvertible {
    /// What happened, where, and what to do.
    public var message: String
    /// As in the pipeline format: 65 data, 69 external, 70 engine, 75 safe to start again, 78 configuration.
    public var exitCode: Int32
    /// Where it happened, if in a node.
    public var node: String?
    /// Whether a restart from the last checkpoint may help.
    public var isRetryable: Bool

    public init(_ message: String, exitCode: Int32, node: String? = nil, isRetryable: Bool = false) {
        self.message = message
        self.exitCode = exitCode
        self.node = node
        self.isRetryable = isRetryable
    }

    public var description: String { message }

    init(_ error: any Error) {
        switch error {
        case let error as RunError:
            self = error
        case let failure as NodeFailure:
            self.init(failure.description, failure.error, node: failure.node)
        case let error as OperatorError:
            self.init(error.message, error, node: nil)
        case let error as CheckpointError:
            let retryable = if case .file = error.kind { error.exitCode == 75 } else { false }
            self.init(error.message, exitCode: error.exitCode, isRetryable: retryable)
        default:
            self.init("internal error: \(error)", exitCode: 70)
        }
    }

    private init(_ message: String, _ error: OperatorError, node: String?) {
        let exitCode: Int32 =
            switch error.domain {
            case .user: 78
            case .external: 69
            case .data: 65
            case .engine: 70
            }
        let retryable = if case .withBackoff = error.retry { true } else { false }
        self.init(message, exitCode: exitCode, node: node, isRetryable: retryable)
    }
}
