package import CKafka
package import DataflowOperator

/// What went wrong between us and Kafka, with librdkafka's own verdicts on what to do next.
///
/// A failure never holds a secret: librdkafka prints none.
package struct KafkaFailure: Error, CustomStringConvertible {
    package var code: rd_kafka_resp_err_t
    /// What librdkafka or the broker said, on one line.
    package var message: String
    /// The client can never be used again; another one must be made.
    package var isFatal = false
    /// The same call may succeed later.
    package var isRetriable = false
    /// A producer's transaction must be aborted, and then can be done again.
    package var requiresAbort = false

    package init(_ code: rd_kafka_resp_err_t, _ message: String? = nil) {
        self.code = code
        self.message = KafkaFailure.oneLine(message ?? String(cString: rd_kafka_err2str(code)))
        isRetriable = KafkaFailure.transient.contains(code)
        isFatal = code == RD_KAFKA_RESP_ERR__FATAL
    }

    /// Takes over librdkafka's error object; nil where there is none, which is success. Destroys it.
    package init?(taking error: OpaquePointer?) {
        guard let error else { return nil }
        defer { rd_kafka_error_destroy(error) }
        code = rd_kafka_error_code(error)
        message = KafkaFailure.oneLine(String(cString: rd_kafka_error_string(error)))
        isFatal = rd_kafka_error_is_fatal(error) != 0
        isRetriable = rd_kafka_error_is_retriable(error) != 0
        requiresAbort = rd_kafka_error_txn_requires_abort(error) != 0
    }

    /// Throws what a call returned, unless it succeeded.
    package static func check(_ code: rd_kafka_resp_err_t) throws(KafkaFailure) {
        if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw KafkaFailure(code) }
    }

    /// Throws the error object that a call returned, if it did.
    package static func check(_ error: OpaquePointer?) throws(KafkaFailure) {
        if let failure = KafkaFailure(taking: error) { throw failure }
    }

    /// The protocol's name of the error: `UNKNOWN_TOPIC_OR_PART`; librdkafka's own begin with `_`.
    package var name: String { String(cString: rd_kafka_err2name(code)) }

    package var description: String { "\(message) (\(name))" }

    /// The failure as the runtime takes it.
    ///
    /// - Parameter doing: what failed, as a sentence without its end: `cannot read the metadata of kafka:9092`. It names
    ///   brokers, topic and partition where they are known.
    package func operatorError(_ doing: String) -> OperatorError {
        let text = "\(doing): \(message) (\(name))"
        if KafkaFailure.fenced.contains(code) {
            return OperatorError(
                .external, .never, "fenced", "\(text); another run of this pipeline has taken over", underlying: self)
        }
        if KafkaFailure.authentication.contains(code) {
            return OperatorError(
                .user, .never, "authentication_failed",
                "\(text); check `security.protocol`, `sasl.mechanisms` and the credentials under `properties`",
                underlying: self)
        }
        if KafkaFailure.authorization.contains(code) {
            return OperatorError(
                .user, .never, "not_authorized", "\(text); the user needs the rights for it on the cluster",
                underlying: self)
        }
        if KafkaFailure.target.contains(code) {
            return OperatorError(.user, .never, "unknown_topic", text, underlying: self)
        }
        if KafkaFailure.unreachable.contains(code) {
            return OperatorError(.external, .withBackoff, "broker_unreachable", text, underlying: self)
        }
        return OperatorError(.external, .withBackoff, "kafka_error", text, underlying: self)
    }

    /// Whether the broker refused who we are, or could not be told.
    package var isAuthentication: Bool { KafkaFailure.authentication.contains(code) }

    /// Whether there is no connection, or no answer in time.
    package var isUnreachable: Bool { KafkaFailure.unreachable.contains(code) }

    /// Whether the topic or the partition is not there.
    package var isUnknownTopic: Bool { KafkaFailure.target.contains(code) }

    private static let fenced: Set<rd_kafka_resp_err_t> = [
        RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
    ]
    private static let authentication: Set<rd_kafka_resp_err_t> = [
        RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED,
        RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE, RD_KAFKA_RESP_ERR__SSL,
    ]
    private static let authorization: Set<rd_kafka_resp_err_t> = [
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    ]
    private static let target: Set<rd_kafka_resp_err_t> = [
        RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
    ]
    private static let unreachable: Set<rd_kafka_resp_err_t> = [
        RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__TIMED_OUT,
        RD_KAFKA_RESP_ERR__RESOLVE, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT,
        RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
    ]
    private static let transient: Set<rd_kafka_resp_err_t> = unreachable.union([
        RD_KAFKA_RESP_ERR__WAIT_COORD, RD_KAFKA_RESP_ERR__IN_PROGRESS, RD_KAFKA_RESP_ERR__RETRY,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    ])

    static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).joined(separator: " ")
    }
}
