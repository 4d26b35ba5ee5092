"""The rows of roles and bindings."""

from weft.api.rbac import GROUP
from weft.api.table.printing import Cells, Object, created, name, prints


@prints(GROUP, "Role", "Name|Created At")
@prints(GROUP, "ClusterRole", "Name|Created At")
def role_row(obj: Object, now: float) -> Cells:
    return [name(obj), (obj.get("metadata") or {}).get("creationTimestamp", "")]


@prints(GROUP, "RoleBinding", "Name|Role|Age|+Users|+Groups|+ServiceAccounts")
@prints(GROUP, "ClusterRoleBinding", "Name|Role|Age|+Users|+Groups|+ServiceAccounts")
def binding_row(obj: Object, now: float) -> Cells:
    reference = obj.get("roleRef") or {}
    subjects = obj.get("subjects") or ()

    def of(kind: str) -> str:
        return ", ".join(each.get("name", "") for each in subjects if each.get("kind") == kind)

    accounts = [
        f"{each.get('namespace', '')}/{each.get('name', '')}"
        for each in subjects
        if each.get("kind") == "ServiceAccount"
    ]
    role = f"{reference.get('kind', '')}/{reference.get('name', '')}"
    return [name(obj), role, created(obj, now), of("User"), of("Group"), ", ".join(accounts)]
