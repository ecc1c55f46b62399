package import CKafka

/// librdkafka's mock brokers, in this process: for injected errors. They keep the newest 4–5 MB of a partition, know no
/// times, fence nobody and hide no aborted messages; a topic appears when it is asked for.
package final class KafkaMockCluster {
    private let client: OpaquePointer
    private let cluster: OpaquePointer
    /// The brokers' addresses.
    package let brokers: String

    package init?(brokerCount: Int32 = 1) {
        guard let configuration = rd_kafka_conf_new() else { return nil }
        rd_kafka_conf_set_log_cb(configuration, nil)
        guard let client = rd_kafka_new(RD_KAFKA_PRODUCER, configuration, nil, 0) else {
            rd_kafka_conf_destroy(configuration)
            return nil
        }
        guard let cluster = rd_kafka_mock_cluster_new(client, brokerCount),
            let brokers = rd_kafka_mock_cluster_bootstraps(cluster)
        else {
            rd_kafka_destroy(client)
            return nil
        }
        self.client = client
        self.cluster = cluster
        self.brokers = String(cString: brokers)
    }

    deinit {
        rd_kafka_mock_cluster_destroy(cluster)
        rd_kafka_destroy(client)
    }

    package func createTopic(_ name: String, partitions: Int32) {
        rd_kafka_mock_topic_create(cluster, name, partitions, 1)
    }

    /// What brokers say of a topic whenever they are asked for it.
    package func failTopic(_ name: String, _ error: rd_kafka_resp_err_t) {
        rd_kafka_mock_topic_set_error(cluster, name, error)
    }

    /// What the next requests of a kind are answered with, one error a request. `api` is the protocol's number: 0 produce,
    /// 1 fetch, 2 list offsets, 3 metadata, 8 commit offsets, 22 init producer id, 26 end transaction.
    package func refuse(api: Int16, with errors: [rd_kafka_resp_err_t]) {
        errors.withUnsafeBufferPointer {
            rd_kafka_mock_push_request_errors_array(cluster, api, $0.count, $0.baseAddress)
        }
    }

    /// How the only broker answers the next two requests of a kind: an error, or none, after so many milliseconds.
    package func answer(
        api: Int16, _ first: (rd_kafka_resp_err_t, Int32), _ second: (rd_kafka_resp_err_t, Int32)
    ) {
        _ = dataflow_mock_answer_two(cluster, 1, api, first.0, first.1, second.0, second.1)
    }

    /// Closes a broker's connections and takes no new ones, or takes them again. Brokers count from 1.
    package func setBroker(_ number: Int32, isUp: Bool) {
        _ = isUp ? rd_kafka_mock_broker_set_up(cluster, number) : rd_kafka_mock_broker_set_down(cluster, number)
    }
}
