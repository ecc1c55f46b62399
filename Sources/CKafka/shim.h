#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

/// The next two requests of a kind to a mock broker: errors and milliseconds until they are answered. Swift calls no functions with
/// variable arguments.
static inline rd_kafka_resp_err_t dataflow_mock_answer_two(
    rd_kafka_mock_cluster_t *cluster, int32_t broker, int16_t api, rd_kafka_resp_err_t first, int first_wait,
    rd_kafka_resp_err_t second, int second_wait) {
    return rd_kafka_mock_broker_push_request_error_rtts(
        cluster, broker, api, 2, first, first_wait, second, second_wait);
}
