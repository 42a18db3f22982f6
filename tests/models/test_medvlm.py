import pytest
import torch
from torch.nn import functional as F

from medgraph.data.collate import TokenBatch, collate_conversations, collate_questions, pad
from medgraph.data.conversation import encode_prompt, encode_reply, prompt
from medgraph.data.loading import ConversationDataset


@pytest.fixture
def batch(corpus, images, tokens):
    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    return collate_conversations([dataset[0, i] for i in range(4)], tokens, ("answer", "extended"), False)


def lm_loss(vlm, images, tokens):
    """Language-model loss of conversations about (B, 3, S, S) images."""
    return vlm.lm_loss(vlm.hidden_states({"lm": (tokens, vlm.encode_images(images))})["lm"], tokens)


def test_the_loss_is_that_of_the_whole_model_with_all_logits(vlm, batch):
    image_tokens = vlm.encode_images(batch.images)
    loss = lm_loss(vlm, batch.images, batch.lm)
    embeds = vlm.llm.get_input_embeddings()(batch.lm.ids.clamp(max=len(vlm.tokenizer) - 1)).clone()
    for row in range(len(batch.lm.ids)):  # splice by hand
        embeds[row, batch.lm.ids[row] == vlm.image_token_id] = image_tokens[row]
    logits = vlm.llm(inputs_embeds=embeds, attention_mask=batch.lm.mask.long()).logits
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), batch.lm.labels[:, 1:].flatten(), ignore_index=-100)
    torch.testing.assert_close(loss, expected)


def test_the_loss_does_not_depend_on_padding(vlm, batch):
    wider = TokenBatch(
        F.pad(batch.lm.ids, (0, 7)), F.pad(batch.lm.mask, (0, 7)), F.pad(batch.lm.labels, (0, 7), value=-100)
    )
    torch.testing.assert_close(lm_loss(vlm, batch.images, wider), lm_loss(vlm, batch.images, batch.lm))


def test_text_nodes_do_not_depend_on_batch_companions(vlm, batch):
    def nodes(texts):
        hidden = vlm.hidden_states({"text": (texts, None)})["text"]
        return vlm.text_nodes(hidden, texts.mask, torch.zeros(len(texts.ids)))

    texts = batch.texts["extended"]
    together = nodes(texts).pooled
    alone = nodes(TokenBatch(*pad([texts.ids[1][texts.mask[1]].tolist()], 0))).pooled
    torch.testing.assert_close(together[1:2], alone)


def test_image_nodes_are_means_over_projected_tokens(vlm, batch):
    image_tokens = vlm.encode_images(batch.images)
    nodes = vlm.image_nodes(image_tokens, batch.image_ids)
    assert image_tokens.shape == (4, 16, vlm.width)
    torch.testing.assert_close(nodes.pooled[2], image_tokens[2].sum(0) / 16)


def test_answers_are_the_same_alone_and_in_a_batch(vlm, corpus, images, tokens):
    records = corpus.splits["test"]
    together = vlm.generate(collate_questions([(images(r.image), r) for r in records], tokens), 8)
    alone = [vlm.generate(collate_questions([(images(r.image), r)], tokens), 8)[0] for r in records]
    assert together == alone


def test_answers_need_no_image(vlm, corpus, tokens):
    answers = vlm.generate(collate_questions([(None, record) for record in corpus.splits["test"][:3]], tokens), 4)
    assert len(answers) == 3


def test_replies_are_as_likely_as_token_by_token_and_alone(vlm, corpus, images, tokens):
    records = corpus.splits["test"][:4]
    replies = [
        [encode_reply(vlm.tokenizer, text, end) for text, end in (("A", False), ("left lung", True), ("no", False))],
        [encode_reply(vlm.tokenizer, "yes", True)],
        [encode_reply(vlm.tokenizer, text) for text in ("B", "a very long reply indeed")],
        [encode_reply(vlm.tokenizer, "A")],
    ]
    batch = collate_questions([(images(r.image), r) for r in records], tokens)
    together = vlm.reply_logprobs(batch, replies)
    for row, record in enumerate(records):
        alone = collate_questions([(images(record.image), record)], tokens)
        embeds = vlm._embed(alone.prompts.ids, vlm.encode_images(alone.images))
        slow = []
        for reply in replies[row]:
            sequence, total = embeds, 0.0
            for token in reply:
                total += vlm.llm(inputs_embeds=sequence).logits[0, -1].log_softmax(-1)[token].item()
                sequence = torch.cat([sequence, vlm._embed(torch.tensor([[token]]), None)], 1)
            slow.append(total)
        assert together[row] == pytest.approx(slow, abs=1e-4)


def test_a_reply_continues_its_prompt(vlm, corpus):
    tokenizer, record = vlm.tokenizer, corpus.splits["train"][0]
    whole = tokenizer(f"{prompt(record, image=False)} {record.answer}{tokenizer.eos_token}")["input_ids"]
    assert encode_prompt(tokenizer, record, 0) + encode_reply(tokenizer, record.answer, end=True) == whole


@pytest.mark.parametrize("parts", [["projector"], ["projector", "llm"], ["vision", "projector", "llm"]])
def test_only_the_named_parts_get_gradients_and_all_of_them(vlm, batch, parts):
    vlm.set_trainable(parts)
    lm_loss(vlm, batch.images, batch.lm).backward()
    for name, parameter in vlm.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
        if name.split(".")[0] not in parts:
            assert not parameter.requires_grad, name
    assert {name.split(".")[0] for name, p in vlm.named_parameters() if p.requires_grad} == set(parts)


def test_a_model_learns_a_batch_by_heart(vlm, batch):
    vlm.set_trainable(["projector", "llm"])
    optimizer = torch.optim.AdamW([p for p in vlm.parameters() if p.requires_grad], lr=3e-3)
    first = None
    for _ in range(30):
        loss = lm_loss(vlm, batch.images, batch.lm)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * first
