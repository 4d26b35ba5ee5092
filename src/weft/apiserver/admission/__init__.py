"""What happens to an object between its decoding and its validation, kind by kind; `STEPS` is the order."""

from weft.apiserver.admission.crd import define_custom_resource, no_new_instances_of_the_dying
from weft.apiserver.admission.grants import give_only_what_one_has
from weft.apiserver.admission.job import select_job_pods
from weft.apiserver.admission.limits import keep_within_limits
from weft.apiserver.admission.namespace import keep_namespace_finalizers, namespace_takes_new_content
from weft.apiserver.admission.pod import complete_pod, only_one_default_priority
from weft.apiserver.admission.quota import count_against_quotas
from weft.apiserver.admission.service import allocate_service
from weft.apiserver.api import Steps

STEPS = Steps(
    first=(
        namespace_takes_new_content,
        no_new_instances_of_the_dying,
        keep_namespace_finalizers,
        keep_within_limits,
        complete_pod,
        select_job_pods,
    ),
    allocate=(
        allocate_service,
        define_custom_resource,
        only_one_default_priority,
        give_only_what_one_has,
    ),
    count=(count_against_quotas,),
)
